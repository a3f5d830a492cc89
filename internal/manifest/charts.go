package manifest

import "slices"

// Comparison is what moving from one version of a chart to another does, under
// the values of one deployment. Lists are never nil, and their order is always
// the same.
type Comparison struct {
	Old   Side  `json:"old"`
	New   Side  `json:"new"`
	Basis Basis `json:"basis"`
	// Findings are what the difference does, the worst first.
	Findings []Finding `json:"findings"`
	Fit      Fit       `json:"values"`
	Effort   Effort    `json:"effort"`
	Undo     Undo      `json:"undo"`
	// Objects are the objects whose text differs, those of the crds folders last;
	// Same is how many do not differ.
	Objects []ObjectDiff `json:"objects"`
	Same    int          `json:"same"`
}

// Side is one of two versions of a chart, as it renders. Where Known is false
// it could not be rendered, and nothing is known of what stands below it: no
// image is listed, exposure and level are "".
type Side struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	AppVersion string `json:"app_version"`

	Known bool `json:"known"`
	// Reason says why the chart does not render by itself; with Known it was
	// rendered past what it requires and refuses.
	Reason string `json:"reason,omitempty"`

	Images      []Image     `json:"images"` // test hooks' included
	Exposure    Exposure    `json:"exposure"`
	ExposureWhy string      `json:"exposure_why"`
	PodSecurity PodLevel    `json:"pod_security"` // that all pods keep to
	Violations  []Violation `json:"violations"`
	// Posture is what is wrong with the side by itself: the findings of Inspect.
	// APIs that the Kubernetes of the options does not serve are among them, as
	// api-removed.
	Posture  []Finding `json:"posture"`
	Unstable []string  `json:"unstable"` // fields that differ each time, masked in everything else
	Faults   []Fault   `json:"faults"`   // what was rendered and could not be read
}

// CompareCharts compares two archives of a chart under the values of the
// options, each rendered once (twice, where its templates ask for random
// values). KubeVersion is that of the cluster, whose missing APIs block.
//
// A chart that does not render is a finding, not-rendered, with Helm's reason,
// and Basis says what the rest is founded on: both rendered past what they
// require and refuse, or where that fails too, the lines of the templates that
// speak of rights, images and privileges, compared as text.
//
// The error is that of an archive that cannot be read at all, as Render has it,
// which of the two is a fact of the problem; or that of a version of Kubernetes
// that is none. Cost: two renderings, Compare, and
// what the texts of objects differ in.
func CompareCharts(old, new []byte, o Options) (Comparison, error) {
	return NewBase(old, o).Compare(new)
}

// comparison is what was examined, as it is told.
func (e *examined) comparison(o Options) Comparison {
	c := Comparison{Old: e.side(0, o), New: e.side(1, o), Basis: e.basis, Fit: e.fit}
	if c.Findings = e.found.sorted(); c.Findings == nil {
		c.Findings = []Finding{}
	}
	c.Effort = EffortOf(append(slices.Clone(c.Findings), unserved(c.New.Posture)...), c.Old.Version, c.New.Version)
	c.Objects, c.Same = textDiffs(slices.Concat(e.objects, e.crds))
	switch e.basis {
	case BasisTemplate:
		c.Undo = undoUnknown(e.names[1], "one of the versions does not render: what changes is not known")
	case BasisLenient:
		c.Undo = undoOf(e.rendered[0], e.rendered[1], e.objects, e.crds, o.KubeVersion).with(
			Obstacle{UndoUnknown, "undo-not-compared", e.names[1], "both versions were rendered past what they require and refuse: with real values they may differ otherwise", ""})
	default:
		c.Undo = undoOf(e.rendered[0], e.rendered[1], e.objects, e.crds, o.KubeVersion)
	}
	return c
}

// unserved are the objects that the cluster does not take, whether they changed
// or not.
func unserved(posture []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(posture), func(f Finding) bool { return f.Rule != "api-removed" })
}

// side is what is known of one side.
func (e *examined) side(i int, o Options) Side {
	m, r := e.metadata[i], e.rendered[i]
	s := Side{
		Name: oneLine(m.Name), Version: oneLine(m.Version), AppVersion: oneLine(m.AppVersion), Reason: e.reasons[i],
		Images: []Image{}, Violations: []Violation{}, Posture: []Finding{}, Unstable: []string{}, Faults: []Fault{},
	}
	if s.Known = e.basis != BasisTemplate; !s.Known {
		if s.Reason == "" {
			s.Reason = "the other version does not render, so neither was"
		}
		return s
	}
	s.Images = append(s.Images, Images(r.Objects)...)
	s.Exposure, s.ExposureWhy = ExposureOf(r.Objects)
	level, violations := PodSecurity(r.Objects)
	s.PodSecurity, s.Violations = level, append(s.Violations, violations...)
	s.Posture = append(s.Posture, inspect(r.Objects, o.KubeVersion, e.exposed)...)
	s.Unstable, s.Faults = append(s.Unstable, r.Unstable...), append(s.Faults, r.Faults...)
	return s
}
