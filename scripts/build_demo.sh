#!/usr/bin/env bash
# Rebuilds the demo models in ketchup/models/demo from nothing, with this project's own commands.
# About an hour and a half on one core. THREADS=1 gives the recorded runs; other values round differently.
set -euo pipefail
cd "$(dirname "$0")/.."
threads=${THREADS:-1}
demo=ketchup/models/demo

# install_model CHECKPOINT RUN NAME: the files that a demo model consists of, and the manifest of its training.
install_model() {
    mkdir -p "$demo/$3"
    cp "$1"/{config.json,generation_config.json,model.safetensors,tokenizer.json,tokenizer_config.json} "$demo/$3/"
    cp "$2/manifest.json" "$demo/$3/manifest.json"
}

ketchup init-student --new --layers 3 --task demo --rows 20000 --vocabulary 600 --out runs/demo-t5
ketchup train sft --task demo --student runs/demo-t5 --limit 60000 --steps 2600 --batch-size 16 --accumulation 4 \
    --lr 2e-3 --schedule linear --warmup-steps 100 --eval-every 200 --save-every 200 --save-dtype float16 \
    --name demo-teacher --threads "$threads"
install_model runs/demo-teacher/last runs/demo-teacher teacher

ketchup init-student --teacher demo-teacher --layers 1 --decoder-layers 1 --out runs/demo-student
ketchup train seqkd --task demo --teacher demo-teacher --student runs/demo-student --limit 6000 \
    --validation-limit 200 --steps 800 --batch-size 16 --accumulation 4 --lr 2e-3 --schedule linear \
    --warmup-steps 50 --eval-every 100 --save-every 100 --milestones 80 250 800 --save-dtype float16 \
    --name demo-students --threads "$threads"
install_model runs/demo-students/checkpoints/step-000080 runs/demo-students student-1
install_model runs/demo-students/checkpoints/step-000250 runs/demo-students student-2
install_model runs/demo-students/checkpoints/step-000800 runs/demo-students student-3
