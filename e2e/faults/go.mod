module github.com/chartkeep/chartkeep/e2e/faults

go 1.26.0

require (
	github.com/chartkeep/chartkeep v0.0.0
	golang.org/x/mod v0.42.0
)

replace github.com/chartkeep/chartkeep => ../..
