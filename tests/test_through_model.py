"""A many-to-many field that gets a model of its own for its table: the table stays, and both releases use it."""

from __future__ import annotations

import pytest

from .project import Project

OLD = """
class Tag(models.Model):
    name = models.CharField(max_length=10)

class Order(models.Model):
    tags = models.ManyToManyField(Tag)
    friends = models.ManyToManyField("self")
"""
NEW = """
class Tag(models.Model):
    name = models.CharField(max_length=10)

class Order(models.Model):
    tags = models.ManyToManyField(Tag, through="Tagging")
    friends = models.ManyToManyField("self", through="Friendship")

class Tagging(models.Model):
    order = models.ForeignKey(Order, models.CASCADE)
    label = models.ForeignKey(Tag, models.CASCADE)
    weight = models.IntegerField(default=1)
    note = models.TextField(null=True)

    class Meta:
        ordering = ["weight"]
        indexes = [models.Index(fields=["weight"], name="tagging_weight")]
        unique_together = [("order", "label")]

class Friendship(models.Model):
    one = models.ForeignKey(Order, models.CASCADE, related_name="+", db_column="from_order_id")
    other = models.ForeignKey(Order, models.CASCADE, related_name="+", db_column="to_order_id")

    class Meta:
        db_table = "shop_order_friends"
        unique_together = [("one", "other")]
"""
TAKEN = (
    "Tagging takes over the table shop_order_tags of Order.tags, with its rows.\n"
    "Friendship takes over the table shop_order_friends of Order.friends, with its rows.\n"
)
BY_OLD = "INSERT INTO shop_order_tags (order_id, tag_id) VALUES ({}, {}) ON CONFLICT DO NOTHING"
READ_BY_OLD = "SELECT order_id, tag_id FROM shop_order_tags ORDER BY 1, 2"
READ_BY_NEW = "SELECT order_id, label_id, weight, note FROM shop_tagging ORDER BY 1, 2"


@pytest.fixture
def grown(project: Project) -> Project:
    project.write_models("shop", OLD)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.sql("INSERT INTO shop_tag (name) VALUES ('a'), ('b'), ('c')")
    project.sql("INSERT INTO shop_order DEFAULT VALUES")
    project.sql("INSERT INTO shop_order DEFAULT VALUES")
    project.sql(BY_OLD.format(1, 1))
    project.sql("INSERT INTO shop_order_friends (from_order_id, to_order_id) VALUES (1, 2)")
    project.write_models("shop", NEW)
    return project


def test_the_table_stays_and_both_releases_use_it(grown):
    first = grown.migration_files("shop")[-1]
    assert TAKEN in grown.manage("makemigrations", "shop", "--noinput").check().stderr
    grown.manage("makemigrations", "--check", "--dry-run").check()
    assert grown.manage("check").check().stdout == "System check identified no issues (0 silenced).\n"
    grown.manage("migrate").check()
    grown.sql(BY_OLD.format(1, 2))
    grown.sql("INSERT INTO shop_tagging (order_id, label_id, weight, note) VALUES (2, 3, 5, 'new')")
    grown.sql(BY_OLD.format(2, 3))
    assert grown.sql(READ_BY_OLD) == [(1, 1), (1, 2), (2, 3)]
    assert grown.sql(READ_BY_NEW) == [(1, 1, 1, None), (1, 2, 1, None), (2, 3, 5, "new")]
    grown.sql("DELETE FROM shop_order_tags WHERE order_id = 1 AND tag_id = 2")
    grown.manage("migrate", "--contract", "--noinput").check()
    assert grown.sql(READ_BY_NEW) == [(1, 1, 1, None), (2, 3, 5, "new")]
    assert grown.sql("SELECT from_order_id, to_order_id FROM shop_order_friends") == [(1, 2)]
    grown.manage("safemigrations", "verify").check()
    grown.manage("migrate", "shop", first).check()
    assert grown.sql(READ_BY_OLD) == [(1, 1), (2, 3)]
    grown.manage("safemigrations", "verify").check()


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("label = models.ForeignKey(Tag,", "label = models.OneToOneField(Tag,"),
        ("order = models.ForeignKey", "id = models.UUIDField(primary_key=True)\n    order = models.ForeignKey"),
    ],
    ids=["one of its keys is unique", "its key is of another kind"],
)
def test_a_model_that_the_table_can_not_be(grown, was, becomes):
    grown.write_models("shop", NEW.replace(was, becomes, 1))
    said = grown.manage("makemigrations", "shop", "--noinput").check().stderr
    assert "Tagging takes over" not in said
    assert "AlterField tags of order changes `through`, which Django can't: migrate fails." in said


OTHER_TAGS = """
class Tag(models.Model):
    pass

class Label(models.Model):
    pass

class Order(models.Model):
    tags = models.ManyToManyField({to}, through="Tagging")

class Tagging(models.Model):
    order = models.ForeignKey(Order, models.CASCADE)
    tag = models.ForeignKey({to}, models.CASCADE, db_constraint=False)
"""


def test_a_field_through_a_model_that_points_elsewhere_is_altered(project):
    """Django 6.1 removes and adds it."""
    project.write_models("shop", OTHER_TAGS.format(to="Tag"))
    project.manage("makemigrations", "shop").check()
    project.write_models("shop", OTHER_TAGS.format(to="Label"))
    said = project.manage("makemigrations", "shop", "--noinput", "--dry-run").check().stdout
    assert "Alter field tags on order" in said
    assert "Remove field tags" not in said
