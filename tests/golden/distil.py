"""Divergences of distillation with their gradients by the student's logits, by plain torch in float64.

Writes distil.json: N = 4 places, V = 9 tokens. `told` holds, for each temperature and k, the teacher's k likeliest tokens
with their log-probabilities and that of all others together. A case has a beta, a temperature and a k, the
divergence at each place, and the gradient of `sum_n weights[n] divergence[n]` by the student's logits.

    The terms are those of TRL's GKDTrainer.generalized_jsd_loss (trl 0.24), without its reduction:
    beta 0: KL(teacher || student); beta 1: KL(student || teacher); else, with m = (1 - beta) student + beta teacher,
    beta KL(teacher || m) + (1 - beta) KL(student || m). With k < V both distributions are first reduced to k + 1
    classes: the teacher's k likeliest, and the others.

Usage: python distil.py [FILE]
"""

import json
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

torch.manual_seed(11)
N, V = 4, 9
TEACHER = (torch.randn(N, V, dtype=torch.float64) * 2).round(decimals=3)
STUDENT = (torch.randn(N, V, dtype=torch.float64) * 2).round(decimals=3)
STUDENT[3] = TEACHER[3]
WEIGHTS = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


def classes(log_probs, ids):
    """[N, V] -> [N, k + 1], or [N, V] in the order of `ids` where these are all."""
    top = log_probs.gather(1, ids)
    if ids.shape[1] == V:
        return top
    others = torch.ones(N, V, dtype=torch.bool).scatter(1, ids, False)
    rest = log_probs.masked_fill(~others, -torch.inf).logsumexp(1, keepdim=True)
    return torch.cat([top, rest], 1)


def divergence(student, teacher, beta):
    if beta == 0:
        terms = F.kl_div(student, teacher, reduction="none", log_target=True)
    elif beta == 1:
        terms = F.kl_div(teacher, student, reduction="none", log_target=True)
    else:
        b = torch.tensor(beta, dtype=torch.float64)
        m = torch.logsumexp(torch.stack([student + torch.log1p(-b), teacher + torch.log(b)]), dim=0)
        to_teacher = F.kl_div(m, teacher, reduction="none", log_target=True)
        to_student = F.kl_div(m, student, reduction="none", log_target=True)
        terms = b * to_teacher + (1 - b) * to_student
    return terms.sum(1)


def case(beta, temperature, k):
    logits = STUDENT.clone().requires_grad_()
    teacher = F.log_softmax(TEACHER / temperature, dim=1)
    ids = teacher.argsort(dim=1, descending=True, stable=True)[:, :k]
    told = classes(teacher, ids)
    student = classes(F.log_softmax(logits / temperature, dim=1), ids)
    value = divergence(student, told, beta)
    (value * WEIGHTS).sum().backward()
    return {
        "beta": beta,
        "temperature": temperature,
        "top_k": k,
        "ids": ids.tolist(),
        "log_probs": told.tolist(),
        "divergence": value.tolist(),
        "gradient": logits.grad.tolist(),
    }


def main():
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("distil.json")
    cases = [
        case(beta, temperature, k)
        for beta in (0.0, 0.3, 0.5, 1.0)
        for temperature in (1.0, 2.0)
        for k in (1, 4, V)
    ]
    golden = {
        "teacher": TEACHER.tolist(),
        "student": STUDENT.tolist(),
        "weights": WEIGHTS.tolist(),
        "cases": cases,
    }
    place.write_text(json.dumps(golden) + "\n")


main()
