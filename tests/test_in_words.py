"""What Django says with a traceback about migrations and models is said in a sentence, with what to do."""

from __future__ import annotations

import pytest

HEAD = "from django.db import migrations\n\nclass Migration(migrations.Migration):\n"
BODY = '    operations = [migrations.RunSQL("SELECT 1", "")]\n'
ITEM = "class Item(models.Model):\n    number = models.IntegerField()\n"
MONEY = """from django.db import models

class Money(models.DecimalField):
    def __init__(self, *, currency="EUR", **kwargs):
        self.currency = currency
        super().__init__({given}**kwargs)

    def deconstruct(self):
        name, path, args, kwargs = super().deconstruct()
        return name, {path}, args, {{**kwargs, "currency": self.currency}}
"""


def write(project, name, *, needs=(), replaces=()):
    """A migration of shop that sends a statement."""
    dependencies = [("shop", each) for each in needs]
    replaced = f"    replaces = {[('shop', each) for each in replaces]!r}\n" if replaces else ""
    project.write_migration("shop", name, f"{HEAD}{replaced}    dependencies = {dependencies!r}\n{BODY}")


@pytest.fixture
def broken(request, project):
    """A project whose migrations don't fit together, and what is said of it."""
    write(project, "0001_initial")
    write(project, "0002_b", needs=["0001_initial"])
    match request.param:
        case "circle":
            write(project, "0003_c", needs=["0002_b"])
            write(project, "0001_squashed", needs=["0003_c"], replaces=["0001_initial", "0002_b"])
            return (
                project,
                "These migrations wait for each other in a circle: shop.0001_squashed, shop.0003_c.",
                (
                    "shop.0001_squashed stands for shop.0001_initial, shop.0002_b: it can't depend on what depends on "
                    "one of these. Take one of their dependencies out."
                ),
            )
        case "itself":
            write(project, "0001_squashed", replaces=["0001_initial", "0001_squashed", "0002_b"])
            return project, "shop.0001_squashed replaces itself.", "Take shop.0001_squashed out of `replaces`."
        case _:
            write(project, "0003_c", needs=["0002_bb"])
            return project, "shop.0003_c depends on shop.0002_bb, which doesn't exist.", "Did you mean '0002_b'?"


@pytest.mark.parametrize("broken", ["circle", "itself", "missing"], indirect=True)
def test_migrations_that_do_not_fit_together(broken):
    project, message, hint = broken
    found = project.manage("check")
    assert found.returncode == 1
    assert f"?: (safemigrations.E106) {message}\n\tHINT: {hint}\n" in found.stderr
    for command in ("makemigrations", "migrate", "safemigrations plan"):
        said = project.manage(*command.split())
        assert "Traceback" not in said.stderr
        assert said.stderr in ("", f"DoesNotFit: {message}\n{hint}\n")
    assert project.manage("safemigrations", "lint").stderr == f"DoesNotFit: {message}\n{hint}\n"


@pytest.mark.parametrize(
    ("given", "path", "said"),
    [
        (
            "max_digits=8, decimal_places=2, ",
            "path",
            (
                "DoesNotFit: Couldn't reconstruct field price on shop.Item: django.db.models.fields.DecimalField."
                "__init__() got multiple values for keyword argument 'max_digits'.\nWhat deconstruct() gives, "
            ),
        ),
        (
            "",
            '"django.db.models.DecimalField"',
            (
                "DoesNotFit: The file of shop.0002_item_price couldn't be imported: field=models.DecimalField("
                "currency='EUR', decimal_places=2, max_digits=8, null=True),\nTypeError: "
            ),
        ),
    ],
    ids=["its own class", "the class that is named"],
)
def test_a_field_that_can_not_be_made_again_from_what_it_gives(project, given, path, said):
    project.write_models("shop", ITEM)
    project.manage("makemigrations").check()
    project.write("shop/money.py", MONEY.format(given=given, path=path))
    arguments = "" if given else "max_digits=8, decimal_places=2, "
    project.write_models("shop", f"from shop.money import Money\n\n{ITEM}    price = Money({arguments}null=True)\n")
    result = project.manage("makemigrations")
    assert result.returncode == 1
    assert result.stderr.startswith(said)
    assert project.migration_files("shop") == ["0001_initial"]


def test_bases_that_djangos_rename_leaves_behind(project):
    project.write_models("shop", f"{ITEM}\nclass Cheap(Item):\n    class Meta:\n        proxy = True\n")
    project.manage("makemigrations").check()
    project.manage("migrate").check()
    rename = '    operations = [migrations.RenameModel("Item", "Thing")]\n'
    project.write_migration("shop", "0002_thing", f'{HEAD}    dependencies = [("shop", "0001_initial")]\n{rename}')
    assert project.manage("migrate").stderr == (
        "DoesNotFit: The models that shop.Cheap inherit from aren't there under that name.\n"
        "Django's RenameModel and DeleteModel leave the old name in their bases. Write ExpandRenameModel of "
        "safemigrations.operations, or delete what inherits first.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("plan shpo", "shpo isn't the label of an installed app. Did you mean 'shop'?"),
        ("preflight shop 0001_inital", "shop has no migration 0001_inital. Did you mean '0001_initial'?"),
        ("plan shop 0009", "shop has no migration 0009. There are: 0001_initial."),
    ],
)
def test_names_on_the_command_line(project, arguments, said):
    write(project, "0001_initial")
    result = project.manage("safemigrations", *arguments.split())
    assert (result.returncode, result.stderr) == (1, f"CommandError: {said}\n")


def test_nothing_is_said_of_an_app_whose_last_migration_nobody_knows(project):
    write(project, "0001_initial")
    for name in ("0002_a", "0002_b"):
        write(project, name, needs=["0001_initial"])
    for command in ("plan", "preflight", "baseline"):
        result = project.manage("safemigrations", command)
        said = "CommandError: shop has more than one leaf: 0002_a, 0002_b. Run makemigrations --merge.\n"
        assert (result.returncode, result.stderr) == (1, said)


@pytest.mark.parametrize(
    ("settings", "status", "said"),
    [
        ({"CHECK_APPS": ["shpo"]}, 1, "CommandError: CHECK_APPS names 'shpo', and no installed app has that label."),
        ({"BASELINE": {"shop": "0001_inital"}}, 0, "BASELINE names shop.0001_inital, which doesn't exist."),
    ],
)
def test_lint_says_that_a_setting_names_what_is_not_there(project, settings, status, said):
    write(project, "0001_initial")
    project.set(SAFEMIGRATIONS=settings)
    result = project.manage("safemigrations", "lint")
    assert result.returncode == status
    assert result.stderr.startswith(f"{said} Did you mean '")
