// No gateway and no router: a Helia that runs here asks nobody.
export const OPTIONS = { config: { ipfs: { gateways: [], delegatedRouters: [] } } }
