import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// `npm run dev` serves the sources and passes the API on to a running host.
const host = process.env.CODER_DEV_HOST ?? "http://127.0.0.1:9502";

export default defineConfig({
  plugins: [react(), tailwindcss()],
  build: {
    outDir: "../coder/ui",
    emptyOutDir: true,
    target: "es2022",
    // A strict Content-Security-Policy refuses data: fonts and scripts.
    assetsInlineLimit: 0,
  },
  server: { proxy: { "/api": { target: host, changeOrigin: true, ws: true, headers: { origin: host } } } },
});
