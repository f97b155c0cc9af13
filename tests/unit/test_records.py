"""Records: immutable, compared by value, and strict about their fields."""

import pytest

from hive_pg import CheckPoint, ComposeService, DatabaseURL, Outcome, Wishes


def test_record_fields():
    """Fields are given in order or by name, and what is left out has its default."""
    assert Wishes(1, image="x").fields() == {
        "port": 1,
        "database": None,
        "image": "x",
        "bind": None,
    }
    assert repr(Wishes(1)) == "Wishes(port=1, database=None, image=None, bind=None)"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param([], {"password": "p"}, id="missing"),
        pytest.param(["u", "p"], {"colour": "red"}, id="unknown"),
        pytest.param("abcdefgh", {}, id="too many"),
    ],
)
def test_record_refused(values, named):
    """A field that is missing or unknown is an error, as for any function."""
    with pytest.raises(TypeError, match="DatabaseURL takes"):
        DatabaseURL(*values, **named)


def test_record_immutable():
    """A record does not change; `replace` makes another one."""
    wishes = Wishes(1)
    with pytest.raises(AttributeError, match="immutable"):
        wishes.port = 2
    assert (wishes.replace(port=2).port, wishes.port) == (2, 1)


def test_record_equality():
    """Equal are records of one class with equal values."""
    assert Wishes(1) == Wishes(1)
    assert Wishes(1) != Wishes(2)
    assert Wishes() != DatabaseURL("u", "p")


def test_record_repr_secret():
    """A record that holds a password does not show it."""
    environment = {"POSTGRES_PASSWORD": "s3cret"}
    service = ComposeService("s", "c", "i", "", "127.0.0.1", 1, "", "", environment)
    assert "s3cret" not in repr(service) + repr(DatabaseURL("u", "s3cret"))
    assert "finding" in repr(CheckPoint("n", Outcome.PASSED, "finding"))
