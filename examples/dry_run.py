"""Before matching: how clean are everybody's keys under the agreed normalisation? Nothing is matched or hashed."""

import pyarrow as pa

from mpc.errors import InputError
from mpc.job import Job, Member
from mpc.local import run_job

bank = pa.table({"phone": ["+852 2123 4567", "2123-4567", None, "21234568", "unknown"]})
telecom = pa.table({"number": ["85221234567", "+85221234568", "+85221234568", "91234567"]})
tables = {"bank": bank, "telecom": telecom}
columns = {"bank": {"key": ("phone",)}, "telecom": {"key": ("number",)}}
profiles = {"normalisation": ("phone/1:HK",)}

check = Job(
    protocol="psi.dry_run",
    members={name: Member("party", columns=columns[name]) for name in tables},
    receivers=("bank", "telecom"),
    params=profiles,
)
print(run_job(check, tables)["bank"].table.to_pandas().to_string(index=False))

# A key that the profile refuses stops the matching itself, and says where it is. Its owner corrects it, or:
roles = {"bank": "receiver", "telecom": "sender"}
members = {name: Member(role, columns=columns[name]) for name, role in roles.items()}
match = Job("psi.ecdh", members, ("bank",), profiles)
try:
    run_job(match, tables)
except InputError as error:
    print(f"{error}\n{error.hint}")
clean = bank.filter(pa.array([value != "unknown" for value in bank["phone"].to_pylist()]))
print("matched:", run_job(match, tables | {"bank": clean})["bank"].table["phone"].to_pylist())
