"""How a scheduler lives inside a web application.

`Scheduler.lifespan` is the whole of it for FastAPI, Starlette and Litestar
(``FastAPI(lifespan=s.lifespan)``), `Scheduler.cleanup_ctx` for aiohttp
(``app.cleanup_ctx.append(s.cleanup_ctx)``); `asyncsched.integrations.asgi` joins the former with a
lifespan of the application's own.
"""
