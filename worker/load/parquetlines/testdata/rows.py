# Writes rows.parquet with pyarrow 26.
import datetime

import pyarrow
import pyarrow.parquet

rows = [
    dict(
        question=f"What is {i}?", answer="forty two" * (i + 1),
        messages=[dict(role="user", content=f"hi {i}"), dict(role="assistant", content="yo")],
        n=i, f=i / 3, b=i % 2 == 0, none=None, when=datetime.datetime(2024, 1, 2, 3, 4, 5), raw=b"\x00\xff",
        tags=["a", "b"] if i else None, day=datetime.date(2024, 1, 2), big=2**63 - 1, dec=None,
    )
    for i in range(5)
]
pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), "rows.parquet", compression="snappy", row_group_size=2)
