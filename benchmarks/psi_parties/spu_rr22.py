"""RR22 of SPU 0.9.5, in an environment that has it: `python spu_rr22.py RANK PORT IN.csv OUT.csv`, absolute paths.

Its link does not tell how many bytes it sent.
"""

import json
import resource
import sys

from spu import libspu, psi


def run(rank: int, port: int, source: str, target: str) -> None:
    description = libspu.link.Desc()
    for party in range(2):
        description.add_party(f"p{party}", f"127.0.0.1:{port + party}")
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
    print(json.dumps({"sent_bytes": 0, "peak_mb": peak}))


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
