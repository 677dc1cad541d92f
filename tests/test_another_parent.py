"""A relation that points at another model, where a field between the two models says which row is which."""

from __future__ import annotations

import pytest

from .project import Project

PAGE = """
class Customer(models.Model):
    name = models.CharField(max_length=10)

class Client(models.Model):
    code = models.CharField(max_length=10, primary_key=True)
    customer = models.{link}(Customer, models.CASCADE)

class Order(models.Model):
    customer = models.ForeignKey({to}, models.CASCADE{more})
"""
OLD = PAGE.format(link="OneToOneField", to="Customer", more="")
NEW = PAGE.format(link="OneToOneField", to="Client", more="")
ASKED = (
    "order.customer points at shop.client from now on. Does Client.customer say which one it is for each row? The "
    'relation gets a column of its own then, by db_column="customer_client_id" in models.py. [y/N]'
)
FILL = """
    INSERT INTO shop_customer (name) VALUES ('a'), ('b'), ('c'), ('d');
    INSERT INTO shop_client VALUES ('A', 1), ('B', 2), ('C', 3);
    INSERT INTO shop_order (customer_id) VALUES (1)
"""
BOTH = "SELECT customer_id, customer_client_id FROM shop_order ORDER BY id"


@pytest.fixture
def grown(project: Project) -> Project:
    project.write_models("shop", OLD)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.sql(FILL)
    project.write_models("shop", NEW)
    return project


def expanded(project: Project) -> str:
    """What makemigrations says when it is answered yes; afterwards nothing is left to do, and `check` finds nothing."""
    said = project.manage("makemigrations", "shop", input="y\n").check().stdout
    project.manage("makemigrations", "--check", "--dry-run").check()
    assert project.manage("check").check().stdout == "System check identified no issues (0 silenced).\n"
    project.manage("migrate").check()
    return said


def test_each_release_has_a_column_that_is_made_from_the_other(grown):
    first = grown.migration_files("shop")[-1]
    said = expanded(grown)
    assert ASKED in said
    assert 'Written into shop/models.py: db_column="customer_client_id" of order.customer\n' in said
    grown.sql("INSERT INTO shop_order (customer_id) VALUES (2)")
    grown.sql("INSERT INTO shop_order (customer_client_id) VALUES ('C')")
    assert grown.sql(BOTH) == [(1, "A"), (2, "B"), (3, "C")]
    grown.sql("UPDATE shop_order SET customer_id = 3 WHERE id = 1")
    grown.sql("UPDATE shop_order SET customer_client_id = 'A' WHERE id = 2")
    assert grown.sql(BOTH) == [(3, "C"), (1, "A"), (3, "C")]
    grown.manage("migrate", "--contract", "--noinput").check()
    grown.manage("safemigrations", "verify").check()
    grown.manage("migrate", "shop", first).check()
    assert grown.sql("SELECT customer_id FROM shop_order ORDER BY id") == [(3,), (1,), (3,)]
    grown.manage("safemigrations", "verify").check()


def test_a_row_that_has_no_new_parent_stops_migrate_before_anything_is_changed(grown):
    grown.sql("INSERT INTO shop_order (customer_id) VALUES (4)")
    grown.manage("makemigrations", "shop", input="y\n").check()
    said = grown.manage("migrate").stderr
    assert 'Rows of shop_order have a customer_id that can\'t be converted to varchar(10): "id" 2' in said


def test_a_column_that_has_its_name_already_needs_nothing_in_models_py(grown):
    grown.write_models("shop", PAGE.format(link="OneToOneField", to="Client", more=', db_column="client"'))
    written = grown.manage("makemigrations", "shop", input="y\n").check()
    assert "Written into" not in written.stdout
    grown.manage("makemigrations", "--check", "--dry-run").check()
    grown.migrate_and_contract()
    assert grown.sql("SELECT client FROM shop_order") == [("A",)]


@pytest.mark.parametrize("answer", ["n\n", None], ids=["a person says no", "nobody can answer"])
def test_where_nothing_says_which_row_is_which_it_is_refused(grown, answer):
    arguments = [] if answer else ["--noinput"]
    said = grown.manage("makemigrations", "shop", *arguments, input=answer).check().stderr
    assert "AlterField customer of order points at another table: either release takes the keys" in said
    assert "run makemigrations at a terminal, and say which foreign key between the two models" in said
    assert grown.read_migration("shop", grown.migration_files("shop")[-1]).count("migrations.AlterField(") == 1


def test_a_field_that_leads_to_several_rows_says_nothing(project):
    project.write_models("shop", OLD.replace("OneToOneField", "ForeignKey"))
    project.manage("makemigrations", "shop").check()
    project.write_models("shop", NEW.replace("OneToOneField", "ForeignKey"))
    said = project.manage("makemigrations", "shop", input="y\n").check()
    assert "say which one it is" not in said.stdout
    assert "Give one of the two models a foreign key to the other" in said.stderr


MANY = """
class Tag(models.Model):
    name = models.CharField(max_length=10)

class Label(models.Model):
    code = models.CharField(max_length=10, primary_key=True)
    tag = models.{link}(Tag, models.CASCADE)

class Famous(Tag):
    class Meta:
        proxy = True

class Order(models.Model):
    tags = models.ManyToManyField({to})
"""
OF_TAGS, OF_LABELS, OF_FAMOUS = (MANY.format(link="OneToOneField", to=to) for to in ("Tag", "Label", "Famous"))
SAID = "order.tags points at shop.label from now on. Does Label.tag say which one it is for each row? [y/N]"
LABELLED = """
    INSERT INTO shop_tag (name) VALUES ('a'), ('b'), ('c'), ('d');
    INSERT INTO shop_label VALUES ('A', 1), ('B', 2), ('C', 3);
    INSERT INTO shop_order DEFAULT VALUES;
    INSERT INTO shop_order_tags (order_id, tag_id) VALUES (1, 1)
"""
OF_BOTH = "SELECT tag_id, label_id FROM shop_order_tags ORDER BY id"


@pytest.fixture
def tagged(project: Project) -> Project:
    project.write_models("shop", OF_TAGS)
    project.manage("makemigrations", "shop").check()
    project.manage("migrate").check()
    project.sql(LABELLED)
    project.write_models("shop", OF_LABELS)
    return project


def test_each_release_has_a_column_in_the_table_of_a_many_to_many_field(tagged):
    first = tagged.migration_files("shop")[-1]
    assert SAID in expanded(tagged)
    tagged.sql("INSERT INTO shop_order_tags (order_id, tag_id) VALUES (1, 2), (1, 1) ON CONFLICT DO NOTHING")
    tagged.sql("INSERT INTO shop_order_tags (order_id, label_id) VALUES (1, 'C'), (1, 'B') ON CONFLICT DO NOTHING")
    assert tagged.sql(OF_BOTH) == [(1, "A"), (2, "B"), (3, "C")]
    tagged.sql("DELETE FROM shop_order_tags WHERE tag_id = 2")
    tagged.manage("migrate", "--contract", "--noinput").check()
    assert tagged.sql("SELECT label_id FROM shop_order_tags ORDER BY id") == [("A",), ("C",)]
    tagged.manage("safemigrations", "verify").check()
    tagged.manage("migrate", "shop", first).check()
    assert tagged.sql("SELECT tag_id FROM shop_order_tags ORDER BY id") == [(1,), (3,)]
    tagged.manage("safemigrations", "verify").check()


def test_where_nobody_can_answer_it_is_said_where_one_is_asked(tagged):
    said = tagged.manage("makemigrations", "shop", "--noinput", "--dry-run").check().stderr
    assert "run makemigrations at a terminal, and say which relation between the two models" in said


def test_a_tag_without_a_label_stops_migrate_and_the_old_foreign_key_is_still_there(tagged):
    tagged.sql("INSERT INTO shop_order_tags (order_id, tag_id) VALUES (1, 4)")
    tagged.manage("makemigrations", "shop", input="y\n").check()
    said = tagged.manage("migrate").stderr
    assert 'Rows of shop_order_tags have a tag_id that can\'t be converted to varchar(10): "id" 2' in said
    tagged.manage("safemigrations", "verify").check()


def test_a_proxy_of_what_it_pointed_at_has_the_same_keys(tagged):
    tagged.write_models("shop", OF_FAMOUS)
    assert tagged.manage("makemigrations", "shop", "--noinput").check().stderr == ""
    tagged.manage("makemigrations", "--check", "--dry-run").check()
    tagged.manage("migrate").check()
    tagged.sql("INSERT INTO shop_order_tags (order_id, famous_id) VALUES (1, 4)")
    assert tagged.sql("SELECT tag_id, famous_id FROM shop_order_tags ORDER BY id") == [(1, 1), (4, 4)]
    tagged.manage("migrate", "--contract", "--noinput").check()
    tagged.manage("safemigrations", "verify").check()


REFUSED = {
    "nothing is one to one between them": (MANY.format(link="ForeignKey", to="Label"), "a OneToOneField to the other"),
    "its own model": (MANY.format(link="OneToOneField", to='"self"'), "can't have a column for each release"),
    "another table, too": (
        MANY.format(link="OneToOneField", to='Label, db_table="labelled"'),
        "Let the table keep its name in this release",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_many_to_many_field_is_refused_with_the_reason(tagged, why):
    models, reason = REFUSED[why]
    tagged.write_models("shop", models)
    said = tagged.manage("makemigrations", "shop", "--dry-run", input="y\n" * 3).check()
    assert "say which one it is" not in said.stdout
    assert reason in said.stderr
