module github.com/fleetune/fleetune/scripts/house

go 1.26.0
