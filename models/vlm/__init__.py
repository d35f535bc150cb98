"""MedReCo-VLM: images and a question enter, generated text leaves. Only `models.vlm.nets` may import torch."""
