module github.com/fleetune/fleetune/scripts/benchmarks/search

go 1.26.0

require (
	github.com/fleetune/fleetune/manager v0.0.0
	github.com/fleetune/fleetune/proto v0.0.0
)

require (
	github.com/clipperhouse/uax29/v2 v2.7.0 // indirect
	github.com/expr-lang/expr v1.17.8 // indirect
	github.com/fleetune/fleetune/shared v0.0.0 // indirect
	github.com/goccy/go-yaml v1.19.2 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/mattn/go-runewidth v0.0.20 // indirect
	github.com/spf13/cobra v1.10.2 // indirect
	github.com/spf13/pflag v1.0.10 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/term v0.47.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	gonum.org/v1/gonum v0.17.0 // indirect
)

replace (
	github.com/fleetune/fleetune/manager => ../../../manager
	github.com/fleetune/fleetune/proto => ../../../proto
	github.com/fleetune/fleetune/shared => ../../../shared
)
