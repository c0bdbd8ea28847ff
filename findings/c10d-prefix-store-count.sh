#!/usr/bin/env bash
# torch 2.15.0, c10d: PrefixStore over TCPStore and HashStore. Seen on 2026-11-29.
# Expected: a PrefixStore shows its own keys only, whatever is asked; a queue and a value under one name are either one thing or two, on every store.
# Happens: list_keys() is limited to the prefix, num_keys() counts the whole store. After queue_push, check() of that name says yes on both stores;
#   then TCPStore's get() returns b"" at once, and HashStore's waits and raises.
# Matters: "wait until all N ranks have registered" by num_keys() counts the keys of other process groups; a wait for a result takes a queue for an empty one.
# Source: torch/csrc/distributed/c10d/PrefixStore.cpp (getNumKeys hands on to the inner store), TCPStoreLibUvBackend.cpp, HashStore.cpp.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import datetime, torch.distributed as dist
for store in dist.TCPStore("127.0.0.1", 0, 1, True), dist.HashStore():
    name = type(store).__name__
    store.set_timeout(datetime.timedelta(seconds=1))
    for i in range(3): store.set(f"other{i}", "x")
    mine = dist.PrefixStore("mine", store)
    mine.set("a", "x")
    print(f"{name}: one key under the prefix, list_keys() {mine.list_keys()}, num_keys() {mine.num_keys()}")
    store.queue_push("result", "7")
    try: answer = store.get("result")
    except dist.DistStoreError as error: answer = type(error).__name__
    print(f"{name}: a queue holds b'7', check() {store.check(['result'])}, get() {answer}")
E
observe python "$tmp/program.py"
verdict <<'E'
TCPStore: one key under the prefix, list_keys() ['a'], num_keys() 5
TCPStore: a queue holds b'7', check() True, get() b''
HashStore: one key under the prefix, list_keys() ['a'], num_keys() 4
HashStore: a queue holds b'7', check() True, get() DistStoreError
E
