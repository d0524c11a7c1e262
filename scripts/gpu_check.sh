#!/usr/bin/env bash
# Tries on a machine with CUDA what no test elsewhere can, and prints a table: agreement with the CPU's numbers, and
# tokens per second of sampling and scoring. Needs an installed ketchup and some minutes; writes into a folder of its own.
#
#   scripts/gpu_check.sh                  all checks on the machine's GPUs
#   scripts/gpu_check.sh cpu              the same, smaller, on the CPU, to see that the script itself is sound
#   PYTHON=.venv/bin/python KEEP=folder   which Python; where to keep the runs
#
# A check is `ok`, `FAILED` (its output is in FOLDER/NAME.log) or `skipped` with the reason. Leaves with 1 if one failed.
set -uo pipefail

device=${1:-cuda}
python=${PYTHON:-python3}
folder=${KEEP:-$(mktemp -d)}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
failed=0
mkdir -p "$folder"
: >"$folder/table.tsv"

ketchup() { "$python" -m ketchup_eval.cli "$@"; }
row_of() { "$python" "$here/gpu_check_row.py" "$@" >>"$folder/table.tsv" || failed=1; }
row() { printf '%s\t' "$@" >>"$folder/table.tsv"; printf '\n' >>"$folder/table.tsv"; }
size=(--limit 16 --samples 16 --max-new-tokens 64)
[[ $device != cpu ]] || size=(--limit 4 --samples 8 --max-new-tokens 16 --threads 1)
gpus=$("$python" -c 'import torch; print(torch.cuda.device_count())')
[[ $device == cpu || $gpus -gt 0 ]] || { echo "There is no CUDA here; scripts/gpu_check.sh cpu checks the script."; exit 2; }

# try NAME COMMAND...: runs it, keeps what it says, and tells whether it went well.
try() {
    local name=$1
    shift
    echo "== $name" >&2
    "$@" >"$folder/$name.log" 2>&1 && return 0
    failed=1
    row "$name" FAILED "$(tail -n 1 "$folder/$name.log" | cut -c1-100)"
    return 1
}

# measure NAME REFERENCE OPTION...: a study, compared with another one's numbers.
measure() {
    local name=$1 reference=$2
    shift 2
    try "$name" ketchup variance "${size[@]}" --k 1 2 4 --runs-dir "$folder" --name "$name" "$@" || return 1
    row_of "$name" "$folder/$name" "$folder/$reference"
}

demo=(--teacher demo-teacher --student demo-student-1 demo-student-3)
narrow=(--teacher-dtype bfloat16 --student-dtype bfloat16)

# 1. The tests that need a GPU.
if [[ $device == cpu ]]; then
    row tests skipped "they need a GPU"
elif try tests "$python" -m pytest "$here/../tests" -m gpu -q; then
    row tests ok "$(tail -n 1 "$folder/tests.log")"
fi

# 2. The demo by every engine, in float32, against the CPU's numbers.
measure cpu cpu "${demo[@]}" --device cpu
for engine in ctranslate2 transformers; do
    measure "$engine" cpu "${demo[@]}" --device "$device" --engine "$engine" --teacher-dtype float32
done
# Drawn in another type than it is scored in: the row has the gap, and numbers corrected for it.
for engine in ctranslate2:int8 ctranslate2:float16; do
    if [[ $device == cpu && $engine == *float16 ]]; then
        row "${engine/:/-}" skipped "a CPU does not compute in float16"
    else
        measure "${engine/:/-}" cpu "${demo[@]}" --device "$device" --engine "$engine" --teacher-dtype float32 \
            --correct-sampler
    fi
done

vllm=no
! "$python" -c 'import vllm' 2>/dev/null || vllm=yes

# 3. Pairs in bfloat16: a T5, and a decoder-only one that is fetched once.
measure t5-bfloat16 cpu "${demo[@]}" --device "$device" "${narrow[@]}"
if try smollm2 ketchup init-student --teacher smollm2-135m --layers 20 --out "$folder/smollm2-20"; then
    pair=(--teacher smollm2-135m --student "$folder/smollm2-20")
    row smollm2 ok fetched
    measure decoder-float32 decoder-float32 "${pair[@]}" --device "$device" --teacher-dtype float32
    measure decoder-bfloat16 decoder-float32 "${pair[@]}" --device "$device" "${narrow[@]}"
    if [[ $vllm == yes ]]; then
        measure decoder-vllm decoder-float32 "${pair[@]}" --device "$device" --engine vllm --teacher-dtype float32
    fi
fi

# 4. A teacher in parts: 4 MB on each GPU, then memory, then disk, must score the same rollouts as a whole one.
measure spread transformers "${demo[@]}" --device "$device" --engine transformers --teacher-dtype float32 \
    --teacher-memory 0.004

# 5. Two processes, each with a GPU of its own, must write the same files as one.
if [[ $device == cpu || $gpus -gt 1 ]]; then
    measure two-processes transformers "${demo[@]}" --device "${device%%:*}" --engine transformers \
        --teacher-dtype float32 --processes 2
else
    row two-processes skipped "there is one GPU"
fi

# 6. vLLM: in this process, in bfloat16, one in each of two processes, one model over two GPUs; and training with it,
# which takes new weights after each step, so that what it draws with stays near what is trained.
if [[ $vllm == no ]]; then
    row vllm skipped "it is not installed"
elif try pair "$python" "$here/gpu_check_pair.py" "$folder/pair"; then
    pair=(--teacher "$folder/pair/teacher" --student "$folder/pair/student" --teacher-dtype float32)
    by_vllm=(train ketchup --k 4 "${pair[@]}" --limit 64 --steps 6 --learning-rate 0.001 --eval-every 6
        --validation-limit 16 --max-new-tokens 16 --runs-dir "$folder")
    measure pair pair "${pair[@]}" --device "$device" --engine transformers
    measure vllm pair "${pair[@]}" --device "$device" --engine vllm --processes 1
    measure vllm-bfloat16 pair "${pair[@]}" --device "$device" --engine vllm:bfloat16 --correct-sampler
    if try train-vllm ketchup "${by_vllm[@]}" --device "$device" --engine vllm --name train-vllm; then
        row_of train-vllm "$folder/train-vllm" "$folder/train-vllm"
    fi
    if [[ $device == cpu || $gpus -gt 1 ]]; then
        measure vllm-two-processes vllm "${pair[@]}" --device "${device%%:*}" --engine vllm --processes 2
        measure vllm-two-gpus vllm "${pair[@]}" --device "${device%%:*}" --engine vllm:tp2 --processes 1
        if try train-vllm-two-gpus ketchup "${by_vllm[@]}" --device "${device%%:*}" --engine vllm:tp2 \
            --name train-vllm-two-gpus; then
            row_of train-vllm-two-gpus "$folder/train-vllm-two-gpus" "$folder/train-vllm-two-gpus"
        fi
    else
        row vllm-two-processes skipped "there is one GPU"
        row vllm-two-gpus skipped "there is one GPU"
    fi
fi

# 7. Training, whole, and killed after its first checkpoint and started again.
train=(train ketchup --k 4 --student demo-student-3 --limit 200 --steps 6 --save-every 2 --eval-every 6
    --validation-limit 16 --max-new-tokens 16 --device "$device" --runs-dir "$folder")
if try train-whole ketchup "${train[@]}" --name train-whole; then
    echo "== train-killed" >&2
    # not by the function, whose shell alone the kill would end
    "$python" -m ketchup_eval.cli "${train[@]}" --name train-killed >"$folder/train-killed.log" 2>&1 &
    doomed=$!
    while kill -0 "$doomed" 2>/dev/null && [[ ! -e $folder/train-killed/last ]]; do sleep 0.05; done
    kill -9 "$doomed" 2>/dev/null
    wait "$doomed" 2>/dev/null
    if try train-resumed ketchup "${train[@]}" --name train-killed; then
        row_of train-resumed "$folder/train-killed" "$folder/train-whole"
    fi
fi

echo
{ printf 'check\tresult\tagreement\tsampling\tscoring\n'; cat "$folder/table.tsv"; } | column -t -s $'\t'
echo "Runs and logs: $folder"
exit $failed
