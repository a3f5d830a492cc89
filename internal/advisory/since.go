package advisory

// Since counts the records that a pack has and an earlier one had not in this
// form, and those of the earlier one that it has no more in theirs: a record
// that changed is in both counts. Cost: linear in the two.
func (p Pack) Since(was Pack) (fresh, gone int) {
	left := make(map[string]int, len(was.lines))
	for _, l := range was.lines {
		left[l]++
	}
	for _, l := range p.lines {
		if left[l] > 0 {
			left[l]--
		} else {
			fresh++
		}
	}
	for _, n := range left {
		gone += n
	}
	return fresh, gone
}
