package chart

// Change is a difference between the files of two archives of a chart.
type Change struct {
	Path string `json:"path"`
	Kind string `json:"kind"` // added, removed, changed (its content), or mode (only whether it is executable)
}

// Diff returns the differences from old to new in the order of their paths.
// Both lists must be sorted by path, as Open returns them. Cost: linear.
func Diff(old, new []File) []Change {
	var changes []Change
	for len(old) > 0 || len(new) > 0 {
		switch {
		case len(new) == 0 || len(old) > 0 && old[0].Path < new[0].Path:
			changes = append(changes, Change{old[0].Path, "removed"})
			old = old[1:]
		case len(old) == 0 || new[0].Path < old[0].Path:
			changes = append(changes, Change{new[0].Path, "added"})
			new = new[1:]
		default:
			switch {
			case old[0].SHA256 != new[0].SHA256:
				changes = append(changes, Change{old[0].Path, "changed"})
			case old[0].Exec != new[0].Exec:
				changes = append(changes, Change{old[0].Path, "mode"})
			}
			old, new = old[1:], new[1:]
		}
	}
	return changes
}
