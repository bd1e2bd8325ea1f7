// Which language a file is in, by its name.

const ENDINGS = {
  bash: "bash sh zsh",
  c: "c h",
  cpp: "cc cpp cxx hpp hh",
  csharp: "cs",
  css: "css",
  dockerfile: "dockerfile",
  go: "go",
  ini: "ini cfg conf toml",
  java: "java",
  javascript: "js jsx mjs cjs",
  json: "json jsonc",
  kotlin: "kt kts",
  makefile: "mk",
  markdown: "md mdx",
  php: "php",
  python: "py pyi",
  ruby: "rb",
  rust: "rs",
  scss: "scss",
  sql: "sql",
  swift: "swift",
  typescript: "ts tsx mts cts",
  xml: "xml svg html htm vue svelte",
  yaml: "yaml yml",
} as const;

export type Language = keyof typeof ENDINGS;

const BY_ENDING = new Map(Object.entries(ENDINGS).flatMap(([language, endings]) => endings.split(" ").map((ending) => [ending, language as Language])));

const BY_NAME = new Map<string, Language>([
  ["dockerfile", "dockerfile"],
  ["gemfile", "ruby"],
  ["makefile", "makefile"],
  ["rakefile", "ruby"],
]);

export function languageOf(path: string): Language | null {
  const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
  const ending = name.includes(".") ? name.slice(name.lastIndexOf(".") + 1) : "";
  return BY_NAME.get(name) ?? BY_ENDING.get(ending) ?? null;
}
