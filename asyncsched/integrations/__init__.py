"""How a scheduler lives inside a web application, and is observed.

`Scheduler.lifespan` is the whole of it for FastAPI, Starlette and Litestar
(``FastAPI(lifespan=s.lifespan)``), `Scheduler.cleanup_ctx` for aiohttp
(``app.cleanup_ctx.append(s.cleanup_ctx)``); `asyncsched.integrations.asgi` joins the former with a
lifespan of the application's own. `asyncsched.integrations.otel` makes a span for every attempt,
`asyncsched.integrations.prometheus` counts and measures; each needs the extra of its name.
"""
