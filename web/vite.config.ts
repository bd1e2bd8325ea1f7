import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

// `npm run dev` serves the sources and passes the API on to a running host.
const host = process.env.CODER_DEV_HOST ?? "http://127.0.0.1:9502";

const FONTS = ["geist", "geist-mono"];

/** The Open Font License wants its text beside the fonts; Vite knows only of the licences of scripts. */
function fontLicences(): Plugin {
  const { resolve } = createRequire(import.meta.url);
  return {
    name: "font-licences",
    apply: "build",
    generateBundle() {
      for (const font of FONTS) {
        const folder = join(resolve(`@fontsource-variable/${font}/package.json`), "..");
        this.emitFile({ type: "asset", fileName: `licences/${font}.txt`, source: readFileSync(join(folder, "LICENSE")) });
      }
    },
  };
}

export default defineConfig({
  // Also below a path of a reverse proxy: everything is asked for beside the page.
  base: "./",
  plugins: [react(), tailwindcss(), fontLicences()],
  build: {
    license: { fileName: "licences/packages.md" },
    outDir: "../coder/ui",
    emptyOutDir: true,
    target: "es2022",
    // A strict Content-Security-Policy refuses data: fonts and scripts.
    assetsInlineLimit: 0,
  },
  server: { proxy: { "/api": { target: host, changeOrigin: true, ws: true, headers: { origin: host } } } },
});
