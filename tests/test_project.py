"""The projects that tests write and run."""

ITEM = """
class Item(models.Model):
    name = models.CharField(max_length=10)
"""


def test_a_project_from_its_models_to_its_tables(project):
    project.write_models("shop", ITEM)
    project.manage("makemigrations", "shop").check()
    assert project.migration_files("shop") == ["0001_initial"]
    assert "CreateModel" in project.read_migration("shop", "0001_initial")
    project.manage("migrate").check()
    assert project.sql("INSERT INTO shop_item (name) VALUES ('pen') RETURNING name") == [("pen",)]


def test_answers_reach_a_command_and_settings_can_change(project):
    project.write_models("shop", ITEM)
    project.manage("makemigrations", "shop").check()
    project.write_models("shop", ITEM + "    size = models.IntegerField()\n")
    asked = project.manage("makemigrations", "shop", input="2\n")
    assert asked.returncode == 3
    assert "non-nullable field 'size' to item" in asked.stdout
    project.set(INSTALLED_APPS=["safemigrations"])
    assert project.manage("makemigrations", "shop").stderr == "No installed app with label 'shop'.\n"


def test_output_can_be_read_while_a_command_runs(project):
    running = project.start("showmigrations")
    running.read_until("shop")
    assert running.wait().returncode == 0
