# shellcheck shell=bash
# The load generators and samplers that ours are measured beside. Needs say.sh. They live in
# the user's cache and are installed once; one that cannot be had leaves the
# reason in NAME.failed, which the benchmark reports.

k6_version=v1.8.1
aiperf_version=0.13.0
optuna_version=5.0.0
kernel_tuner_version=1.5.0
torch_version=2.15.0

# peers_folder prints where the peers are.
peers_folder() { printf '%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}/fleetune/peers"; }

# need_peers: installs what is missing, and goes on without what cannot be had.
need_peers() {
  local folder
  folder=$(peers_folder)
  mkdir -p "$folder"
  [[ -x $folder/k6 || -e $folder/k6.failed ]] || peer k6 "$folder" install_k6
  [[ -x $folder/aiperf/bin/aiperf && -e $folder/tokenizer || -e $folder/aiperf.failed ]] || peer aiperf "$folder" install_aiperf
}

# need_samplers FLAG...: the same for search. Optuna's Gaussian process needs
# gigabytes more and comes only where the flags name it.
need_samplers() {
  local folder
  folder=$(peers_folder)
  mkdir -p "$folder"
  [[ -x $folder/optuna/bin/optuna || -e $folder/optuna.failed ]] || peer optuna "$folder" install_optuna
  [[ -e $folder/kernel_tuner/installed || -e $folder/kernel_tuner.failed ]] || peer kernel_tuner "$folder" install_kernel_tuner
  if [[ $* == *optuna:GP* && -x $folder/optuna/bin/optuna ]]; then
    [[ -e $folder/optuna/torch || -e $folder/torch.failed ]] || peer torch "$folder" install_torch
  fi
}

install_optuna() { python3 -m venv "$1/optuna" && "$1/optuna/bin/pip" install --quiet "optuna==$optuna_version"; }

install_torch() { "$1/optuna/bin/pip" install --quiet "torch==$torch_version" scipy && : >"$1/optuna/torch"; }

install_kernel_tuner() {
  python3 -m venv "$1/kernel_tuner" && "$1/kernel_tuner/bin/pip" install --quiet "kernel_tuner==$kernel_tuner_version" &&
    "$1/kernel_tuner/bin/python" -c 'import kernel_tuner' && : >"$1/kernel_tuner/installed"
}

# peer NAME FOLDER INSTALL: the last line of what the installation said is the
# reason when it fails.
peer() {
  say "installing $1 into $2 (once; remove the folder to try again)"
  "$3" "$2" >"$2/$1.log" 2>&1 || tail -n 1 "$2/$1.log" >"$2/$1.failed"
}

install_k6() { (cd "$1" && GOBIN=$1 GOWORK=off GOFLAGS=-mod=mod go install "go.k6.io/k6@$k6_version"); }

install_aiperf() {
  python3 -m venv "$1/aiperf" && "$1/aiperf/bin/pip" install --quiet "aiperf==$aiperf_version" && "$1/aiperf/bin/python" - "$1/tokenizer" <<'PYTHON'
# A tokenizer of single bytes: AIPerf needs one to write its prompts.
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=alphabet[0], pad_token=alphabet[0])
fast.save_pretrained(sys.argv[1])
PYTHON
}
