#!/usr/bin/env bash
# torch 2.15.0, c10d: TCPStore, FileStore, HashStore. Seen on 2026-11-29.
# Expected: compare_set(key, expected, desired) on a key that is not there stores nothing, returns something that cannot be taken for success, such as b"", and nobody notices.
# Happens: it returns `expected`. A holder that renews its own mark (expected == desired) gets its mark back, as on success, while nothing is stored.
#   On TCPStore it also wakes those who wait for the key: their get() returns b"" for a key that was never set.
# Matters: a lease or lock kept by compare_set looks renewed after somebody deleted it; a rank that waits for a result goes on with an empty one.
# Source: torch/csrc/distributed/c10d/TCPStoreLibUvBackend.cpp, compareAndSet.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import datetime, os, threading, time, torch.distributed as dist
def answer(store):
    try: return store.get("result")
    except RuntimeError: return 'an error'
for store in dist.TCPStore("127.0.0.1", 0, 1, True), dist.FileStore(os.environ["TMPDIR"] + "/store", 1), dist.HashStore():
    store.set_timeout(datetime.timedelta(seconds=3))
    renewed, there = store.compare_set("lease", "mine", "mine"), store.check(["lease"])
    answers = []
    other = store.clone(); other.set_timeout(datetime.timedelta(seconds=3))
    waiter = threading.Thread(target=lambda: answers.append(answer(other))); waiter.start()
    time.sleep(1); store.compare_set("result", "x", "y"); waiter.join()
    print(f"{type(store).__name__}: renewal of a lease that is gone returns {renewed}, key there: {there}; "
          f"who waits for a key that only a failed compare_set touches gets {answers[0]}, key there: {store.check(['result'])}")
E
observe python "$tmp/program.py"
verdict <<'E'
TCPStore: renewal of a lease that is gone returns b'mine', key there: False; who waits for a key that only a failed compare_set touches gets b'', key there: False
FileStore: renewal of a lease that is gone returns b'mine', key there: False; who waits for a key that only a failed compare_set touches gets an error, key there: False
HashStore: renewal of a lease that is gone returns b'mine', key there: False; who waits for a key that only a failed compare_set touches gets an error, key there: False
E
