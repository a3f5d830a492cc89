package watch

// NewUpstream asks for an upstream. With a preset, its sources and charts are
// those of the preset, and more can be added; Name "" is then the preset's.
type NewUpstream struct {
	Name       string
	Preset     string
	Charts     []string
	Keep       Keep      // "" is KeepNew
	QuietAfter *Duration // nil is 180 days
	Mirror     *Mirror
	Sources    []Source // Kind, URL, Credential, Chart and Interval (0: the kind's default) are read
}

// UpstreamChange names what to change; nil leaves it.
type UpstreamChange struct {
	Charts     *[]string
	Keep       *Keep
	QuietAfter *Duration
	Mirror     *Mirror
	NoMirror   bool      // mirrors no more; what was released stays
	Sources    *[]Source // all sources from now on; those that stay keep their state
}
