import json

from bench.rows import Row, as_json, as_table, at_least, at_most


def test_a_figure_meets_its_target_by_the_ratio_to_its_reference():
    assert at_most("b", "cpu", "us", 8.0, ("limit", 1.0), 10.0).met is True
    assert at_most("b", "cpu", "us", 12.0, ("limit", 1.0), 10.0).met is False
    assert at_least("b", "speed", "1/s", 12.0, ("peer", 1.0), 10.0).met is True
    assert at_least("b", "speed", "1/s", 12.0, ("peer", 1.0)).met is None


def test_json_has_one_object_a_line_with_every_key():
    row = at_most("warm", "first text", "ms", 1.23456, ("cold", 10.0))

    [line] = as_json([row]).splitlines()

    assert json.loads(line) == {
        "name": "warm",
        "metric": "first text",
        "unit": "ms",
        "ours": 1.235,
        "reference": 10.0,
        "reference_name": "cold",
        "ratio": 0.1235,
        "target": None,
        "met": None,
    }


def test_the_table_shows_what_is_missing_as_a_dash():
    assert as_table([Row("warm", "added", "ms", 1.0, target=3.0, met=True)]).endswith(
        "| warm | added | 1 ms | – | – | 3 | yes |"
    )
