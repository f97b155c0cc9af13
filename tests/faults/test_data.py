"""Existing data: lost or refused credentials, half-made clusters, owners, versions, last words."""

import pytest

pytestmark = pytest.mark.engine


def test_rows_are_kept_by_a_restart(make):
    """The rows that the other tests look for are there to begin with."""
    workspace = make()
    workspace.init()
    workspace.plant()
    workspace.hive_pg("restart")
    workspace.assert_kept()
