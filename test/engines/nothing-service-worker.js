// A service worker that is there to be registered.
addEventListener('install', () => undefined)
