"""A helpdesk of 13 models, and 25 changes: each is an edit of models.py and what is answered to makemigrations."""

from __future__ import annotations

from dataclasses import dataclass

MODELS = """
class Organisation(models.Model):
    name = models.CharField(max_length=60)
    domain = models.CharField(max_length=60, unique=True)


class Customer(models.Model):
    organisation = models.ForeignKey(Organisation, models.CASCADE, related_name="customers")
    name = models.CharField(max_length=60)
    email = models.CharField(max_length=80, unique=True)
    phone = models.CharField(max_length=30, null=True)


class Team(models.Model):
    name = models.CharField(max_length=40, unique=True)


class Agent(models.Model):
    team = models.ForeignKey(Team, models.PROTECT)
    name = models.CharField(max_length=60)
    email = models.CharField(max_length=80, unique=True)
    is_active = models.BooleanField(default=True)


class Queue(models.Model):
    team = models.ForeignKey(Team, models.CASCADE)
    name = models.CharField(max_length=40)
    position = models.IntegerField()


class Tag(models.Model):
    id = models.AutoField(primary_key=True)
    name = models.CharField(max_length=40, unique=True)


class Agreement(models.Model):
    name = models.CharField(max_length=40)
    hours = models.PositiveIntegerField()


class Ticket(models.Model):
    number = models.CharField(max_length=20, unique=True)
    subject = models.CharField(max_length=100)
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="tickets")
    agent = models.ForeignKey(Agent, models.SET_NULL, null=True)
    queue = models.ForeignKey(Queue, models.CASCADE)
    agreement = models.ForeignKey(Agreement, models.CASCADE)
    tags = models.ManyToManyField(Tag, related_name="tickets")
    priority = models.IntegerField(choices=[(1, "low"), (2, "high")])
    state = models.CharField(max_length=10, db_default="open")
    opened = models.DateTimeField(auto_now_add=True)
    summary = models.TextField(null=True)
    budget = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        indexes = [models.Index(fields=["priority", "opened"], name="ticket_next")]
        constraints = [models.CheckConstraint(condition=models.Q(priority__gte=1), name="ticket_priority")]


class Comment(models.Model):
    ticket = models.ForeignKey(Ticket, models.CASCADE)
    author = models.CharField(max_length=60)
    body = models.TextField()
    posted = models.DateTimeField(auto_now_add=True)


class Attachment(models.Model):
    comment = models.ForeignKey(Comment, models.CASCADE)
    path = models.CharField(max_length=100)
    size = models.IntegerField()


class Article(models.Model):
    title = models.CharField(max_length=80)
    slug = models.CharField(max_length=80, unique=True)
    views = models.IntegerField(default=0)


class Survey(models.Model):
    ticket = models.OneToOneField(Ticket, models.CASCADE)
    score = models.IntegerField()


class Holiday(models.Model):
    day = models.DateField()
    name = models.CharField(max_length=40, null=True)
"""


@dataclass(frozen=True)
class Change:
    """What stands in models.py before and after, and the answers.

    `documented` is a pattern for what one release can't read of the other, as the page of the change says.
    """

    edits: tuple[tuple[str, str], ...]
    answers: str = ""
    documented: str = ""

    @property
    def models(self) -> str:
        text = MODELS
        for before, after in self.edits:
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        return text


def edit(*edits: tuple[str, str], answers: str = "", documented: str = "") -> Change:
    return Change(edits, answers, documented)


def after(line: str, *more: str, answers: str = "") -> Change:
    return edit((line, "\n".join((line, *(f"    {each}" for each in more)))), answers=answers)


SUBJECT = "    subject = models.CharField(max_length=100)"
CLOSING = """

class Watching(models.Model):
    ticket = models.ForeignKey(Ticket, models.CASCADE)
    agent = models.ForeignKey(Agent, models.CASCADE)
"""
TAGGING = """

class Tagging(models.Model):
    ticket = models.ForeignKey(Ticket, models.CASCADE)
    tag = models.ForeignKey(Tag, models.CASCADE)
    weight = models.IntegerField(default=1)

    class Meta:
        db_table = "helpdesk_ticket_tags"
        unique_together = [("ticket", "tag")]
"""
HOLIDAY = MODELS[MODELS.index("\n\nclass Holiday") :]
END = "    name = models.CharField(max_length=40, null=True)\n"

CHANGES: dict[str, Change] = {
    "an index": edit(('name="ticket_next")]', 'name="ticket_next"), models.Index(fields=["state"], name="by_state")]')),
    "an index goes": edit(('[models.Index(fields=["priority", "opened"], name="ticket_next")]', "[]")),
    "a field with a default": after(SUBJECT, 'channel = models.CharField(max_length=10, default="web")'),
    "a field that is computed": after(
        SUBJECT, "title = models.CharField(max_length=130)", answers="3\nConcat('number', Value(' '), 'subject')\n"
    ),
    "a foreign key": after(SUBJECT, 'second = models.ForeignKey(Agent, models.SET_NULL, null=True, related_name="+")'),
    "a many-to-many field": after(SUBJECT, 'watchers = models.ManyToManyField(Agent, related_name="watched")'),
    "a field goes": edit(("    phone = models.CharField(max_length=30, null=True)\n", "")),
    "a foreign key goes": edit(("    agreement = models.ForeignKey(Agreement, models.CASCADE)\n", "")),
    "a model goes": edit((HOLIDAY, "\n")),
    "a model": edit((END, END + CLOSING)),
    "a field is renamed": edit((SUBJECT, SUBJECT.replace("subject", "headline")), answers="y\n"),
    "a many-to-many field is renamed": edit(("    tags = ", "    labels = "), answers="y\n"),
    "a many-to-many field gets a model": edit(
        (
            'ManyToManyField(Tag, related_name="tickets")',
            'ManyToManyField(Tag, related_name="tickets", through="Tagging")',
        ),
        (END, END + TAGGING),
    ),
    "a model is renamed": edit(
        ("class Agreement(", "class Promise("), ("ForeignKey(Agreement,", "ForeignKey(Promise,"), answers="y\n"
    ),
    "a table is renamed": edit((END, END + '\n    class Meta:\n        db_table = "closed_days"\n')),
    "a field becomes required": edit(
        ("summary = models.TextField(null=True)", "summary = models.TextField()"), answers="4\nF('subject')\n"
    ),
    "a default goes": edit(('max_length=10, db_default="open"', 'max_length=10, default="open"')),
    "a larger number": edit(("views = models.IntegerField(", "views = models.BigIntegerField(")),
    "a larger key": edit(("id = models.AutoField(", "id = models.BigAutoField(")),
    "a shorter text": edit(("phone = models.CharField(max_length=30", "phone = models.CharField(max_length=29")),
    "another type": edit(
        ("score = models.IntegerField()", 'score = models.CharField(max_length=12, db_column="mark")'),
        documented="score is None, and '[^']+' was written",  # no number
    ),
    "digits on the other side of the point": edit(
        ("max_digits=10, decimal_places=2", "max_digits=11, decimal_places=4")
    ),
    "a unique field": edit(
        ("path = models.CharField(max_length=100)", "path = models.CharField(max_length=100, unique=True)")
    ),
    "a check": edit(
        (
            'name="ticket_priority")]',
            'name="ticket_priority"), models.CheckConstraint(condition=~models.Q(number=""), name="ticket_numbered")]',
        )
    ),
    "a check goes": edit(
        ('[models.CheckConstraint(condition=models.Q(priority__gte=1), name="ticket_priority")]', "[]")
    ),
}
