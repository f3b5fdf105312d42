"""The HTTP collector: a thin ASGI application and how uvicorn serves it."""
