"""RR22 of SPU 0.9.5, in an environment that has it: `python spu_rr22.py RANK ADDRESS ADDRESS IN.csv OUT.csv`.

The addresses are those at which this party reaches rank 0 and rank 1; its own is where it listens. Absolute paths.
"""

import json
import resource
import sys

from spu import libspu, psi


def run(rank: int, addresses: list[str], source: str, target: str) -> None:
    description = libspu.link.Desc()
    for party, address in enumerate(addresses):
        description.add_party(f"p{party}", address)
    link = libspu.link.create_brpc(description, rank)
    protocol = psi.PsiProtocolConfig()
    protocol.protocol, protocol.receiver_rank, protocol.broadcast_result = psi.PsiProtocol.PROTOCOL_RR22, 0, True
    config = psi.PsiExecuteConfig()
    config.protocol_conf = protocol
    kind = psi.SourceType.SOURCE_TYPE_FILE_CSV
    config.input_params = psi.InputParams(type=kind, path=source, selected_keys=["id"], keys_unique=True)
    config.output_params = psi.OutputParams(type=kind, path=target, disable_alignment=True)
    psi.psi_execute(config, link)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_mb": peak}))


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2:4], sys.argv[4], sys.argv[5])
