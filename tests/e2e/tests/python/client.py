"""A client that nobody here wrote: Python's grpcio, generated from /proto. Creates, reads, watches.

Usage: client.py PROTO_DIRECTORY GENERATED_DIRECTORY ADDRESS TENANT REGION
Prints one JSON object; the Rust test compares it.
"""

import json
import pathlib
import sys
import threading

import grpc
from grpc_tools import protoc


def generate(protos: pathlib.Path, out: pathlib.Path) -> None:
    """Generates the messages and stubs of the public services."""
    out.mkdir(parents=True, exist_ok=True)
    files = [str(path) for path in sorted(protos.glob("pi/*/v1/*.proto")) if "raft" not in path.parts]
    code = protoc.main(["protoc", f"-I{protos}", f"--python_out={out}", f"--grpc_python_out={out}", *files])
    if code != 0:
        raise SystemExit(f"protoc ended with {code}")
    sys.path.insert(0, str(out))


def main() -> None:
    protos, out, address, tenant, region = sys.argv[1:6]
    generate(pathlib.Path(protos), pathlib.Path(out))
    from pi.regions.v1 import regions_pb2, regions_pb2_grpc
    from pi.secrets.v1 import secrets_pb2, secrets_pb2_grpc

    credential = [("authorization", f"Bearer insecure:{tenant}")]
    payload = b'{"auths":{"registry.example.com":{"username":"bob","password":"python"}}}'
    with grpc.insecure_channel(address) as channel:
        secrets = secrets_pb2_grpc.SecretsStub(channel)
        regions = regions_pb2_grpc.RegionsStub(channel)
        call = {"metadata": credential, "timeout": 20}

        def create(name: str):
            request = secrets_pb2.CreateRequest(region=region, name=name, payload=payload, labels={"by": "python"})
            return secrets.Create(request, **call)

        created = create("first").secret
        read = secrets.Access(secrets_pb2.AccessRequest(region=region, name="first"), **call)

        watch = secrets.Watch(secrets_pb2.WatchRequest(region=region), **call)
        kind = secrets_pb2.WatchResponse.Kind
        events = []
        for event in watch:
            events.append([kind.Name(event.kind), event.secret.name])
            if event.kind == kind.KIND_SYNCED:
                threading.Thread(target=create, args=("second",)).start()
            if event.secret.name == "second":
                break
        watch.cancel()

        try:
            create("first")
            refused = None
        except grpc.RpcError as error:
            # No library for google.rpc.Status here: that its bytes are there is enough.
            details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
            refused = [error.code().name, b"SECRET_EXISTS" in details, "first" in error.details()]

        listed = secrets.List(secrets_pb2.ListRequest(region=region, label_selector="by=python"), **call)
        quota = regions.GetRegion(regions_pb2.GetRegionRequest(region=region), **call)
        known = regions.ListRegions(regions_pb2.ListRegionsRequest(), timeout=20)
        print(
            json.dumps(
                {
                    "generation": created.generation,
                    "same_uid": created.uid == read.secret.uid,
                    "same_payload": read.payload == payload,
                    "events": events,
                    "refused": refused,
                    "listed": [secret.name for secret in listed.secrets],
                    "quota": [quota.secrets_used, quota.secrets_quota],
                    "regions": [known_region.name for known_region in known.regions],
                }
            )
        )


if __name__ == "__main__":
    main()
