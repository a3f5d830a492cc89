package upgrade

// Seal is for tests.
func Seal(r *Review) error { return r.seal() }
