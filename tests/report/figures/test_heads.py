from lmd.report.figures.heads import asked, head_grids


def row(name: str, kind: str) -> dict[str, str]:
    return {"name": name, "kind": kind}


def test_heads_stand_where_their_rows_are() -> None:
    rows = [row("a.query", "query"), row("a.query_key.0", "query_key"), row("a.query_key.2", "query_key")]
    rows += [
        row("a.value_output.0", "value_output"),
        row("b.query_key.1", "query_key"),
        row("query_key.0", "query_key"),
    ]
    key, value = head_grids(rows)
    assert (key["circuit"], value["circuit"]) == ("query_key", "value_output")
    assert key["places"] == ["a", "b", ""]
    assert key["rows"] == [[1, None, 2], [None, 4], [5]]
    assert value["rows"] == [[3]]


def test_a_module_of_that_name_is_no_head() -> None:
    assert head_grids([row("query_key.0", "dense"), row("x", "query_key")]) == []


def test_what_changes_the_circuits_is_said() -> None:
    assert asked({}) == asked({"distance": 0, "fold_bias": False}) == ""
    assert asked({"distance": 3, "fold_bias": True, "fold_norm": True}) == (
        "rotary positions at distance 3, biases and norms folded in"
    )
