"""A result file as the predecessor writes it, for the tests of moving over."""

from __future__ import annotations

RESULTS = """\
generate_speed,time_to_first_token,time_per_output_token,success_rate,throughput,MAX_NUM_BATCHED_TOKENS,MAX_NUM_SEQS,CONCURRENCY,REQUESTRATE,error,backup,duration,real_evaluation,fitness,num_prompts
1500.5,0.8,0.04,1.0,7.5,8192,64,100,0.0,,,612.3,True,3.5,3000
2500.5,2.2,0.045,0.99,12.5,16384,256,500,0.0,,/tmp/backup/2,601.0,True,2.1,3000
,,,,,65536,512,1000,0.0,"Service start failed, see log",,30,True,inf,3000
9000,0.1,0.01,1.0,90,8192,128,200,0.0,,,0,False,0.1,3000
"""
"""Feasible for a TTFT of 1 s: the first row. The second breaks it, the third failed, the fourth was only predicted."""
