#!/bin/bash
# submitit 1.5.4, with stand-ins for SLURM's commands.
# 1. A job without timeout_min is submitted with a limit of 5 minutes, also where the partition has a default of its own.
# 2. Job.done asks sacct only. On a cluster without accounting sacct fails, and a job that squeue no longer knows is
#    never done (state UNKNOWN), with a warning.
# seen: the script has #SBATCH --time=5; done(force_check=True) is False although the queue is empty.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q submitit==1.5.4
cd "$folder"
mkdir bin jobs
printf '#!/bin/sh\nfor last; do :; done; cp "$last" %s/script; echo "Submitted batch job 101"\n' "$folder" > bin/sbatch
printf '#!/bin/sh\nexit 0\n' > bin/srun
printf '#!/bin/sh\nexit 0\n' > bin/squeue
printf '#!/bin/sh\necho "Slurm accounting storage is disabled" >&2\nexit 1\n' > bin/sacct
chmod +x bin/*
PATH="$folder/bin:$PATH" venv/bin/python - <<'PY'
import sys

import submitit

executor = submitit.AutoExecutor(folder="jobs", cluster="slurm")
executor.update_parameters(slurm_partition="gpu")
job = executor.submit(print, "hello")
limit = [line.strip() for line in open("script") if "--time" in line]
done = job.done(force_check=True)
print("limit:", limit, "; done:", done, "; state:", job.state)
sys.exit(limit != ["#SBATCH --time=5"] or done)
PY
