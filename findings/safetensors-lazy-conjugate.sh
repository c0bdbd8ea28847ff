#!/usr/bin/env bash
# safetensors 0.8.0, torch 2.15.0. Seen on 2026-11-29.
# Expected: a tensor comes back from save_file and load_file as it was. torch.save does that.
# Happens: conj() and what follows from it (imag, mH, adjoint) only set a mark on the tensor; the memory is that of the original. safetensors writes the memory and not the
#   mark: the conjugate comes back unconjugated, its imaginary part with the other sign, although is_contiguous() is true. resolve_conj() and resolve_neg() mend it.
# Matters: filters kept in the frequency domain and rotary or Fourier position tables are saved with the wrong sign, without an error.
# Source: safetensors/torch.py, which reads the tensor's memory through its address.
. "$(dirname "$0")/common.sh"
python_packages safetensors==0.8.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import io, torch
from safetensors.torch import load, save
number = torch.tensor([1 + 2j])
def through_torch(tensor): torch.save(tensor, file := io.BytesIO()); file.seek(0); return torch.load(file)
for what, tensor in {"x": number, "x.conj()": number.conj(), "x.conj().imag": number.conj().imag, "x.conj().resolve_conj()": number.conj().resolve_conj()}.items():
    print(f"{what} {tensor.tolist()}, contiguous {tensor.is_contiguous()}: through safetensors {load(save({'x': tensor}))['x'].tolist()}, through torch.save {through_torch(tensor).tolist()}")
E
observe python "$tmp/program.py"
verdict <<'E'
x [(1+2j)], contiguous True: through safetensors [(1+2j)], through torch.save [(1+2j)]
x.conj() [(1-2j)], contiguous True: through safetensors [(1+2j)], through torch.save [(1-2j)]
x.conj().imag [-2.0], contiguous True: through safetensors [2.0], through torch.save [-2.0]
x.conj().resolve_conj() [(1-2j)], contiguous True: through safetensors [(1-2j)], through torch.save [(1-2j)]
E
