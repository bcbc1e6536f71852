-- The node says goodbye.
-- ARGV[2]: life
finish(ARGV[2])
return 1
