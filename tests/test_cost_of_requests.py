"""What the app costs a request of the project: no query and no module."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from .project import Project

MODELS = """class Item(models.Model):
    note = models.TextField()
"""
URLS = """
from django.http import HttpResponse
from django.urls import path
from shop.models import Item

def add(request):
    Item.objects.create(note="new")
    return HttpResponse(Item.objects.count())

urlpatterns = [path("", add)]
"""
ASK = """
import json, sys
import django
django.setup()
from django.db import connection
from django.test import Client
from django.urls import get_resolver
get_resolver().url_patterns
connection.force_debug_cursor = True  # before it connects: what comes with that counts, too
loaded, client, sent = set(sys.modules), Client(headers={"host": "localhost"}), []
for _ in range(2):
    assert client.get("/").status_code == 200
    sent += [query["sql"].split("(")[0].strip() for query in connection.queries]  # of this request
print(json.dumps([sent, sorted(name for name in set(sys.modules) - loaded if "safemigrations" in name)]))
"""
REQUEST = ['INSERT INTO "shop_item"', "SELECT COUNT"]
NOTE = 'INSERT INTO "safemigrations_seen" AS noted'


def asked(project: Project) -> Any:
    """What two requests sent in a process of their own, and which modules of ours came with them."""
    environment = {**project._environment(), "DJANGO_SETTINGS_MODULE": "settings"}
    command = [sys.executable, "-W", "error", "ask.py"]
    done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_request_sends_what_it_sends_without_the_app(project):
    project.set(ROOT_URLCONF="urls", ALLOWED_HOSTS=["localhost"])
    project.write("urls.py", URLS)
    project.write("ask.py", ASK)
    project.write_models("shop", MODELS)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    assert asked(project) == [[*REQUEST, *REQUEST], []]
    project.set(INSTALLED_APPS=["shop"])
    assert asked(project) == [[*REQUEST, *REQUEST], []]

    # With GATE_QUIET a process notes its release when it connects, once a minute.
    project.set(INSTALLED_APPS=["safemigrations", "shop"], SAFEMIGRATIONS={"GATE_QUIET": 60})
    project.sql("CREATE TABLE safemigrations_seen (mark text PRIMARY KEY, seen_at timestamptz)")
    assert asked(project) == [[NOTE, *REQUEST, *REQUEST], []]
