"""Fields, signals and routers of other packages: what they bring is asked, never assumed."""

from __future__ import annotations

from .project import Project

# As django-activity-stream does: whoever is saved or deleted, and every model is taken for one of an app.
LISTENS_TO_ALL = """
from django.db.models import signals

def look_up(sender, **kwargs):
    assert sender._meta.app_label != "safemigrations", f"{sender} sends signals"

for signal in (signals.pre_save, signals.post_save, signals.pre_delete, signals.post_delete):
    signal.connect(look_up)
"""
BOOK = "class Book(models.Model):\n    title = models.CharField(max_length=100)\n"


def change(project: Project, source: str) -> None:
    project.write_models("shop", source)
    project.manage("makemigrations", "shop", "--noinput").check()


def test_tables_of_ours_send_no_signals(project):
    change(project, BOOK + LISTENS_TO_ALL)
    project.manage("migrate").check()
    change(project, BOOK + "    stock = models.IntegerField(default=0)\n" + LISTENS_TO_ALL)
    project.manage("migrate").check()
    for decision in ("postpone", "resume", "skip", "resume"):
        project.manage("safemigrations", "contract", decision, "1", "--reason", "no").check()
    project.manage("migrate", "shop", "0001").check()
    project.migrate_and_contract()


# As django-taggit's TaggableManager: many-to-many, and without most of what Django's own field has.
TAGS = """
from django.db.models.fields.related import ManyToManyRel, RelatedField, lazy_related_operation

class Tags(RelatedField):
    many_to_many, many_to_one, one_to_many, one_to_one = True, False, False, False

    def __init__(self, to="shop.Tag", through="shop.Tagged"):
        super().__init__(rel=ManyToManyRel(self, to, through=through), null=True, serialize=False)

    def deconstruct(self):
        return self.name, "shop.fields.Tags", [], {}

    def contribute_to_class(self, cls, name):
        self.set_attributes_from_name(name)
        self.model, self.opts = cls, cls._meta
        cls._meta.add_field(self)
        if not cls._meta.abstract:
            lazy_related_operation(self.resolve, cls, self.remote_field.model, self.remote_field.through)

    def resolve(self, model, to, through):
        self.remote_field.model, self.remote_field.through = to, through

    def get_internal_type(self):
        return "ManyToManyField"

    def m2m_db_table(self):
        return self.remote_field.through._meta.db_table
"""
TAGGED = """
class Tag(models.Model):
    name = models.CharField(max_length=100)

class Tagged(models.Model):
    tag = models.ForeignKey(Tag, models.CASCADE)
    book = models.ForeignKey("Book", models.CASCADE)
"""


def test_a_many_to_many_field_of_another_kind(project):
    """It comes, its model gets another name and table, it gets another name, and it goes."""
    project.write("shop/fields.py", TAGS)
    tags = "from shop.fields import Tags\n" + TAGGED
    change(project, tags + BOOK)
    project.manage("migrate").check()
    change(project, tags + BOOK + "    tags = Tags()\n")
    assert "Add field tags to book" in project.manage("sqlmigrate", "shop", "0002").check().stdout
    project.migrate_and_contract()
    table = "    class Meta:\n        db_table = 'books'\n"
    change(project, tags + BOOK + "    tags = Tags()\n    isbn = models.CharField(max_length=13, default='')\n" + table)
    project.migrate_and_contract()
    change(project, tags + BOOK + "    isbn = models.CharField(max_length=13, default='')\n" + table)
    project.migrate_and_contract()
    project.manage("safemigrations", "lint").check()
    project.manage("check").check()
    assert project.manage("makemigrations", "--check", "--dry-run").returncode == 0
    project.manage("migrate", "shop", "0001").check()
