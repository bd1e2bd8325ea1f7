/** The sign of the product: a prompt and a light. */
export function Mark({ className = "size-5" }: { className?: string }) {
  return (
    <svg aria-hidden viewBox="0 0 32 32" className={className}>
      <rect width="32" height="32" rx="8" className="fill-ink" />
      <path
        d="M13 9.5 7.500 16l5.500 6.500M17 22.500h4"
        fill="none"
        className="stroke-on-ink"
        strokeWidth="2.600"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
      <circle cx="22.500" cy="12" r="3" className="fill-ask-strong" />
    </svg>
  );
}
