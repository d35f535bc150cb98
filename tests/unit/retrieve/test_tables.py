"""Names of tables."""

from operators.retrieve.tables import EmbeddingTable, table_name


def test_table_name_is_plain_whatever_the_bundle_is_called() -> None:
    names = {table_name(bundle) for bundle in ('a"; DROP TABLE studies; --', "ä b", "x" * 300, "")}

    assert len(names) == 4
    assert all(name.replace("_", "").isalnum() and name.isascii() for name in names)
    assert all(len(EmbeddingTable(name=name, width=1).partition_name(399) + "_hnsw") < 64 for name in names)
