"""Runs a mixer's peer for `echo mixers KIND --speed --peers`. peer.py REQUEST, a JSON object that names
the peer's script and the sizes. Its first answer is {"name"} or {"missing": why}; then it answers every
line {"pass", "context"} with the CPU seconds that this pass took once, or null where the peer has no
such pass. How such a script looks: framework/src/testing/README.md."""

import importlib.util
import json
import os
import sys
import time

WARM_UP = 16  # tokens
LONG_TOKEN = 4e-3  # seconds

# What a library prints must not reach the program: standard output goes to standard error from here on.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def answer(value):
    print(json.dumps(value), file=ANSWERS, flush=True)


def load(path):
    spec = importlib.util.spec_from_file_location("peer_of_mixer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start


def passes(torch, script, layer, request):
    shape = (request["batch"], request["length"], request["width"])
    x, gradient = torch.randn(shape), torch.randn(shape)
    token = torch.randn((request["batch"], 1, request["width"]))
    turns = {}  # of tokens, by context

    def forward(_):
        with torch.no_grad():
            return seconds(lambda: layer(x))

    def train(_):
        layer.zero_grad(set_to_none=True)

        def work():
            layer(x.detach().requires_grad_(True)).backward(gradient)

        return seconds(work)

    def turn_of(step):
        """Seconds of a token: the mean over some in a row."""

        def read(count):
            for _ in range(count):
                step(token)

        read(WARM_UP)
        count = 4 if seconds(lambda: read(1)) > LONG_TOKEN else 64
        return lambda: seconds(lambda: read(count)) / count

    def one_token(context):
        with torch.no_grad():
            if context not in turns:
                step = script.step(layer, request["batch"], context) if hasattr(script, "step") else None
                turns[context] = turn_of(step) if step else lambda: None
            return turns[context]()

    return {"forward": forward, "forward and backward": train, "one token": one_token}


def lacking(problem):
    """What to do about an ImportError. One without a name comes from within torch, or from what wants torch."""
    module = problem.name or "torch"
    package = module.split(".")[0]
    wanted = "torch numpy" if package == "torch" else f"--upgrade {package}"
    return (f"no {module} in {sys.executable} ({problem}); install it with `{sys.executable} -m pip install "
            f"{wanted}`, or name a Python that has it with ECHO_PYTHON")


def main():
    request = json.loads(sys.argv[1])
    try:
        import torch

        torch.set_num_threads(1)
    except (ImportError, OSError, AttributeError) as problem:
        answer({"missing": lacking(ImportError(problem))})
        return
    torch.manual_seed(0)
    try:
        script = load(request["script"])
        layer = script.layer(request["width"], request["fields"])
    except ImportError as problem:
        answer({"missing": lacking(problem)})
        return
    except ValueError as problem:
        answer({"missing": str(problem)})
        return
    known = passes(torch, script, layer, request)
    name = getattr(script, "NAME", None)
    answer({"name": f"{name}, torch {torch.__version__}" if name else f"torch {torch.__version__} in Python"})
    for line in sys.stdin:
        wanted = json.loads(line)
        work = known.get(wanted["pass"])
        answer(work(wanted["context"]) if work else None)


main()
