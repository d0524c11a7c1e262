"""An HTTP server in this process that speaks the part of vLLM's API that a teacher needs, and fails as it is told to.

What it says comes from a tiny network by one plain forward pass, so that it can be checked against the local teacher.
"""

import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

NAME = "served"
MAX_MODEL_LEN = 512


class FakeTeacher:
    """`fault(tokens, count)` may give a `(status, body)` in place of the `count`-th answer about these tokens.

    `change(reply)` may change what is sent, `texts` what the ids are said to be; `asked` counts answered prompts.
    """

    def __init__(self, model, *, fault=None, change=None, tokenizer=None, detokenizes=True, names=(NAME,)):
        self.model = model
        self.fault = fault or (lambda tokens, count: None)
        self.change = change or (lambda reply: reply)
        self.tokenizer = tokenizer or model.tokenizer
        self.detokenizes = detokenizes
        self.names = names
        self.asked, self.tries, self.keys = Counter(), Counter(), set()
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()

    @property
    def rollouts_asked(self):
        """Prompts that were answered, but for those of the checks, which begin with the end of a text."""
        return {tokens: count for tokens, count in self.asked.items() if tokens[0] != self.model.eos_id}

    @contextmanager
    def running(self, port=0):
        handler = type("Bound", (Handler,), {"teacher": self})
        server = QuietServer(("127.0.0.1", port), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        self.port = server.server_address[1]
        try:
            yield f"http://127.0.0.1:{self.port}/v1"
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)

    def answer(self, path, body):
        if body["model"] not in self.names:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist.", "code": 404}}
        if path == "/detokenize":
            if not self.detokenizes:
                return 404, {"detail": "Not Found"}
            return 200, {"prompt": self.tokenizer.decode(body["tokens"])}
        assert path == "/v1/completions"
        assert (body["max_tokens"], body["temperature"], body["prompt_logprobs"]) == (1, 1.0, 1)
        tokens = tuple(body["prompt"])
        with self.lock:
            self.tries[tokens] += 1
            fault = self.fault(tokens, self.tries[tokens])
            if fault:
                return fault
            if len(tokens) >= MAX_MODEL_LEN:
                return 400, {"error": {"message": f"This model's maximum context length is {MAX_MODEL_LEN} tokens."}}
            reply = self.change(self.completion(tokens))
            self.asked[tokens] += 1
        return 200, reply

    @torch.no_grad()
    def completion(self, tokens):
        log_p = self.model.network(input_ids=torch.tensor([tokens])).logits[0].float().log_softmax(-1)
        places = [None]
        for place, token in enumerate(tokens[1:]):
            best = int(log_p[place].argmax())
            rows = {token: log_p[place, token], best: log_p[place, best]}
            rank = {token: int((log_p[place] > log_p[place, token]).sum()) + 1, best: 1}
            places.append(
                {
                    str(index): {
                        "logprob": float(value),
                        "rank": rank[index],
                        "decoded_token": self.tokenizer.decode([index]),
                    }
                    for index, value in rows.items()
                }
            )
        choice = {"index": 0, "text": "a", "finish_reason": "length", "prompt_logprobs": places}
        return {"id": "cmpl-x", "object": "text_completion", "model": NAME, "choices": [choice]}


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that are killed."""

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    """One request."""

    teacher: FakeTeacher

    def do_GET(self):
        self.teacher.keys.add(self.headers["Authorization"])
        rows = [{"id": name, "object": "model", "max_model_len": MAX_MODEL_LEN} for name in self.teacher.names]
        self.send(200, {"object": "list", "data": rows})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send(*self.teacher.answer(self.path, body))

    def send(self, status, content):
        if status is None:  # the server is gone
            self.close_connection = True
            return
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *words):
        pass
