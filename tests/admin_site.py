"""A project with Django's admin, and what its pages answer: rows of the queue and backfills stand in its database."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import unescape
from typing import Any

from . import started
from .project import Project

APPS = ["admin", "auth", "contenttypes", "sessions", "messages", "staticfiles"]
SETTINGS: dict[str, Any] = {
    "ROOT_URLCONF": "urls",
    "ALLOWED_HOSTS": ["localhost", "127.0.0.1"],
    "DEBUG": True,
    "STATIC_URL": "static/",
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
    "MIDDLEWARE": [
        "policy.middleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
}
URLS = """
from django.contrib import admin
from django.urls import path
urlpatterns = [path("admin/", admin.site.urls)]
"""
POLICY = """
def middleware(get_response):
    def answer(request):
        response = get_response(request)
        response["Content-Security-Policy"] = "default-src 'self'; img-src 'self' data:"
        return response
    return answer
"""
USERS = """
import django
django.setup()
from django.contrib.auth.models import Permission, User
User.objects.create_superuser("root", password="root")
seer = User.objects.create_user("seer", password="seer", is_staff=True)
ours = Permission.objects.filter(content_type__app_label="safemigrations")
seer.user_permissions.set(ours.filter(codename__startswith="view_"))
User.objects.create_user("nobody", password="nobody", is_staff=True)
"""
ASK = """
import json, sys
import django
django.setup()
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.contrib.messages import get_messages
user, method, path, data = json.loads(sys.argv[1])
client = Client(enforce_csrf_checks=False, raise_request_exception=True)
client.force_login(User.objects.get(username=user))
with CaptureQueriesContext(connection, ) as queries:
    answer = getattr(client, method)(path, data, headers={"host": "localhost"})
said = [str(message) for message in get_messages(answer.wsgi_request)]
print(json.dumps([answer.status_code, answer.content.decode(), said, [one["sql"] for one in queries]]))
"""
DDL = re.compile(r"^\s*(create|alter|drop|truncate|grant|revoke|comment)\b", re.IGNORECASE)


class Answer:
    def __init__(self, status: int, body: str, said: list[str], queries: list[str]) -> None:
        self.status, self.body, self.said, self.queries = status, body, said, queries

    @property
    def plain(self) -> str:
        """Its text, with quotes as they are."""
        return unescape(self.text)

    @property
    def text(self) -> str:
        """The page as one reads it."""
        return " ".join(re.sub(r"<[^>]*>", " ", self.body).split())


def with_admin(project: Project) -> Project:
    """The project with Django's admin; call with_users() after `migrate`."""
    installed = [*project.settings["INSTALLED_APPS"], *(f"django.contrib.{app}" for app in APPS)]
    project.set(INSTALLED_APPS=installed, **SETTINGS)
    for name, text in {"urls.py": URLS, "policy.py": POLICY, "users.py": USERS, "ask.py": ASK}.items():
        project.write(name, text)
    return project


def with_users(project: Project) -> None:
    """root may do everything, seer may see every page of ours, nobody may see none; each password is the name."""
    run(project, "users.py")


def run(project: Project, script: str, *args: str) -> str:
    environment = project._environment()
    said, error, status = started.run([script, *args], folder=project.folder, env=environment, input="")
    assert status == 0, error
    return said


def ask(project: Project, user: str, path: str, data: Mapping[str, Any] | None = None) -> Answer:
    """A GET, or a POST where there are data; no page may send DDL."""
    method = "get" if data is None else "post"
    said = run(project, "ask.py", json.dumps([user, method, f"/admin/safemigrations/{path}", data or {}]))
    answer = Answer(*json.loads(said))
    assert not [sql for sql in answer.queries if DDL.match(sql)]
    return answer
