"""Records: immutable, compared by value, and strict about their fields."""

import pytest

from hive_pg import ComposeService, DatabaseURL, PostgreSQLIntegrationError, Record, Repair


class Point(Record):
    """A record with a default."""

    x: int
    y: int = 0


class Place(Record):
    """Another one with the same fields."""

    x: int
    y: int = 0


def test_record_fields():
    """Fields are given in order or by name, and what is left out has its default."""
    assert Point(1, y=2).fields() == {"x": 1, "y": 2}
    assert repr(Point(1)) == "Point(x=1, y=0)"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param([1], {"z": 1}, id="unknown"),
        pytest.param([1, 2, 3], {}, id="too many"),
    ],
)
def test_record_refused(values, named):
    """A field that is unknown is an error, as for any function."""
    with pytest.raises(TypeError, match="Point takes"):
        Point(*values, **named)


def test_record_immutable():
    """A record does not change; `replace` makes another one."""
    point = Point(1)
    with pytest.raises(AttributeError, match="immutable"):
        point.x = 2
    assert (point.replace(x=2), point) == (Point(2), Point(1))


def test_record_equality():
    """Equal are records of one class with equal values."""
    assert Point(1) == Point(1, 0)
    assert Point(1) != Point(2)
    assert Point(1) != Place(1)


def test_record_repr_secret():
    """A record that holds a password does not show it."""
    environment = {"POSTGRES_PASSWORD": "s3cret"}
    service = ComposeService("s", "c", "i", "", "127.0.0.1", 1, "", "", environment)
    assert "s3cret" not in repr(service) + repr(DatabaseURL("u", "s3cret"))


def test_error_parts():
    """An error has a message, and may have a hint, other words and a repair."""
    error = PostgreSQLIntegrationError("m", hint="h", detail="d", repair=Repair.OWNER)
    assert (str(error), error.hint, error.detail, error.repair) == ("m", "h", "d", Repair.OWNER)
    error = PostgreSQLIntegrationError("m")
    assert (error.hint, error.detail, error.repair) == ("", "", None)
