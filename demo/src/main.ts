// Starts the page: the storage in its worker, then every panel over the same live view of it.
import './styles/base.css'
import './styles/parts.css'
import './styles/layout.css'
import './styles/files.css'
import './styles/run.css'
import './styles/served.css'
import './styles/network.css'
import { startAppShell } from './app-shell.ts'
import { byId } from './dom.ts'
import { startDownloadPanel } from './download-panel.ts'
import { startDropZone } from './drop-zone.ts'
import { startFileList } from './file-list.ts'
import { LiveStorage } from './live.ts'
import { startModelPanel } from './model-panel.ts'
import { errorBox } from './notices.ts'
import { startRunPanel } from './run-panel.ts'
import { startServedPanel } from './served-panel.ts'
import { startStatusPanel } from './status-panel.ts'
import { openStorage } from './storage.ts'
import { startUrlsPanel } from './urls-panel.ts'

/** Without a storage nothing on this page works, so that is said once, on top. */
function showFatal(error: unknown): void {
  byId('fatal').replaceChildren(errorBox(error))
}

const { storage, openPort } = openStorage()
const live = new LiveStorage(storage, showFatal)
live.subscribe(() => byId('fatal').replaceChildren())
startStatusPanel(live)
startModelPanel(live)
startRunPanel(live, openPort)
startServedPanel(live)
startDownloadPanel(live)
startUrlsPanel(live)
startDropZone(live)
startFileList(live)
startAppShell()
live.refresh()
storage.ready().then(() => live.refresh(), showFatal)
