"""Row security: whoever migrates under a policy sees fewer rows than there are, and loses none of them."""

from __future__ import annotations

import pytest
from django.db.models import F, Q, Value
from django.test import override_settings

from safemigrations.operations import Backfill

from .conftest import Role, on_database
from .deployment import Deployment, Outcome
from .library import BACKFILL, CHANGES, LATER, library

TENANTS = """
    ALTER TABLE {0} ENABLE ROW LEVEL SECURITY; ALTER TABLE {0} FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenants ON {0} USING (id::text = current_setting('app.tenant', TRUE));
"""
SEES_NOTHING = {
    "the owner": ("owner", 5000),
    "the owner, in batches": ("owner", 50),
    "a member of the owner's role": ("member", 50),
}


@pytest.fixture
def tenants(shop: Deployment, owner: str) -> Deployment:
    """A library whose owner sees no book."""
    with shop.as_role(owner):
        library(shop)
    shop.sql(TENANTS.format("shop_book"))
    return shop


@pytest.fixture
def member(role: Role, owner: str, dsn: str) -> str:
    """A role that may do what the owner may, because it is a member of it."""
    name = role("member", f'IN ROLE "{owner}"')
    on_database(dsn, f'GRANT ALL ON SCHEMA public TO "{name}"')
    return name


@pytest.mark.parametrize("who", SEES_NOTHING)
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_rows_that_a_policy_hides_are_not_lost(tenants, owner, member, change, who):
    """Each gets its value, or the change is refused before anything is touched."""
    role, batch = SEES_NOTHING[who]
    if change.spoil:
        tenants.sql(change.spoil)
    before = tenants.catalog()
    with (
        tenants.as_role({"owner": owner, "member": member}[role]),
        override_settings(SAFEMIGRATIONS={"BACKFILL_BATCH_SIZE": batch}),
    ):
        expanded = tenants.deploy(change.operation)
        wrong = 0 if expanded.error else tenants.count(change.wrong)
        contracted = Outcome("") if expanded.error else tenants.contract()
    if expanded.refused:
        tenants.assert_unchanged(before)
        assert "BYPASSRLS" in expanded.error
        return
    expanded.check()
    assert wrong == 0
    assert not change.spoil
    contracted.check()
    assert tenants.count(change.wrong) == 0


def test_what_is_read_from_a_table_whose_rows_a_policy_hides_is_not_taken_for_nothing(shop, owner):
    with shop.as_role(owner):
        library(shop)
        shop.sql(TENANTS.format("shop_author"))
        expanded = shop.deploy(Backfill("book", {"note": F("author__name")}, where=~Q(note="done")))
    if expanded.refused:
        assert "BYPASSRLS" in expanded.error
    assert shop.count("note IS NULL") == 80


def test_a_worker_that_sees_no_row_does_not_say_that_a_backfill_is_done(shop, role: Role):
    """It isn't the owner, so that plain row security hides rows from it."""
    worker = role("worker")
    library(shop)
    with override_settings(SAFEMIGRATIONS=LATER):
        shop.deploy(Backfill("book", {"note": Value("none")}, where=Q(note=None), can_wait=True)).check()
    shop.sql(TENANTS.format("shop_book").replace("FORCE", "NO FORCE"))
    shop.sql(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{worker}"')
    shop.sql(f'GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "{worker}"')
    with shop.as_role(worker):
        run = shop.backfill("run")
    assert run.refused or shop.count(BACKFILL.wrong) == 0


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_role_that_bypasses_policies_migrates_as_ever(tenants, role: Role, owner, change):
    seeing = role("seeing", f'BYPASSRLS IN ROLE "{owner}"')
    tenants.sql(f'GRANT ALL ON SCHEMA public TO "{seeing}"')
    with tenants.as_role(seeing):
        expanded, contracted = tenants.live(change.operation)
    expanded.check()
    contracted.check()
    assert tenants.count(change.wrong) == 0
