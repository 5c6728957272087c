module github.com/fleetune/fleetune/scripts/llama/nonsense

go 1.26.0
