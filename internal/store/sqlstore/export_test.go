package sqlstore

import "time"

// SignPatience sets how long a signer may take, for one test.
func SignPatience(d time.Duration) (restore func()) {
	was := signPatience
	signPatience = d
	return func() { signPatience = was }
}
