package client

// Comparison is what the difference between two versions of a chart does.
type Comparison struct {
	Old      ComparisonSide     `json:"old"`
	New      ComparisonSide     `json:"new"`
	Basis    string             `json:"basis"`
	Findings []ManifestFinding  `json:"findings"`
	Fit      ValuesFit          `json:"values"`
	Effort   Effort             `json:"effort"`
	Undo     Undo               `json:"undo"`
	Objects  []ObjectDifference `json:"objects"`
	Same     int                `json:"same"`
}

// ComparisonSide is one of them, as it renders.
type ComparisonSide struct {
	Name        string                 `json:"name"`
	Version     string                 `json:"version"`
	AppVersion  string                 `json:"app_version"`
	Known       bool                   `json:"known"`
	Reason      string                 `json:"reason,omitempty"`
	Images      []RenderedImage        `json:"images"` // test hooks' included
	Exposure    string                 `json:"exposure"`
	ExposureWhy string                 `json:"exposure_why"`
	PodSecurity string                 `json:"pod_security"` // that all pods keep to
	Violations  []PodSecurityViolation `json:"violations"`
	Posture     []ManifestFinding      `json:"posture"`
	Unstable    []string               `json:"unstable"` // fields that differ each time, masked in everything else
	Faults      []ManifestFault        `json:"faults"`   // what was rendered and could not be read
}

// RenderedImage is an image that an object runs, or hands to something that may
// run it.
type RenderedImage struct {
	Object     string `json:"object"`    // the object's ID
	Container  string `json:"container"` // its name; "" outside containers
	Path       string `json:"path"`      // of the field in the object
	Ref        string `json:"image"`     // as written
	Confidence string `json:"confidence"`
}

// PodSecurityViolation is a rule of the Pod Security Standards that a pod
// breaks.
type PodSecurityViolation struct {
	Level     string `json:"level"`               // the level that the pod loses: Baseline or Restricted
	Rule      string `json:"rule"`                // such as host-path or run-as-non-root
	Object    string `json:"object"`              // the object's ID
	Container string `json:"container,omitempty"` // "" where the rule is about the pod
	Value     string `json:"value,omitempty"`     // what breaks it, such as NET_ADMIN; "" where something is missing
}

// ManifestFinding says what one thing is or does.
type ManifestFinding struct {
	Rule     string `json:"rule"` // stable id, such as rights-widened
	Severity string `json:"severity"`
	Object   string `json:"object"`  // Kind/namespace/name; a template, a chart, or the path of a value
	Message  string `json:"message"` // one sentence, without a final period
	Old      string `json:"old,omitempty"`
	New      string `json:"new,omitempty"`
	Set      bool   `json:"set,omitempty"` // it is about a value that the given ones set
}

// ManifestFault is a piece of a manifest that cannot be read.
type ManifestFault struct {
	Source string `json:"source"`
	Line   int    `json:"line,omitempty"`
	Reason string `json:"reason"`
}

// ValuesFit says how the values that somebody sets fit another version.
type ValuesFit struct {
	Set      int      `json:"set"`      // values that are set: what is no table, and empty tables
	Kept     []string `json:"kept"`     // both charts have it, or let anything be set there, and its default is the same
	Vanished []string `json:"vanished"` // the old chart had it; Helm ignores it without a word
	Retyped  []string `json:"retyped"`  // its default is of another type now
	Default  []string `json:"default"`  // its default is another now, and may mean another
	Unlisted []string `json:"unlisted"` // neither chart lists it
	Required []string `json:"required"`
	Defaults int      `json:"defaults"`
	Unknown  bool     `json:"unknown,omitempty"`
}

// Effort is what moving from one version to another asks of people.
type Effort struct {
	Class     string       `json:"class"`
	Points    int          `json:"points"`
	Parts     []EffortPart `json:"parts"` // that add up to Points, the largest first; those that only block have none
	Approvers []string     `json:"approvers"`
	Blocked   bool         `json:"blocked"`
}

// EffortPart is one reason for effort.
type EffortPart struct {
	Points   int             `json:"points"`
	Why      string          `json:"why"`
	Approver string          `json:"approver,omitempty"`
	Blocks   bool            `json:"blocks,omitempty"`
	Finding  ManifestFinding `json:"finding"` // that it comes from
}

// Undo is the forecast of a rollback.
type Undo struct {
	Verdict string         `json:"verdict"`
	Reasons []UndoObstacle `json:"reasons"` // the gravest first
}

// UndoObstacle is one thing that stands in the way of a rollback.
type UndoObstacle struct {
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`   // stable id, such as undo-immutable
	Object  string `json:"object"` // Kind/namespace/name
	Message string `json:"message"`
	Until   string `json:"until,omitempty"` // what must not have happened, with possible-until
}

// ObjectDifference is how the text of one object differs.
type ObjectDifference struct {
	Object  string `json:"object"` // its ID; of a changed one, that of the new
	Change  string `json:"change"` // added, removed or changed
	Source  string `json:"source"` // the template
	Text    string `json:"text"`
	Added   int    `json:"added"`   // lines
	Removed int    `json:"removed"` // likewise
	Cut     bool   `json:"cut"`     // Text has not all of them
}
