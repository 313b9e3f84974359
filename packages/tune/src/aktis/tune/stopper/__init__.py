from aktis.tune.error import TuneError
class Stopper:
    def __call__(self, trial_id, result): return False
    def stop_all(self): return False
class CombinedStopper(Stopper):
    def __init__(self,*s): self.s=s
    def __call__(self,t,r): return any([x(t,r) for x in self.s])
    def stop_all(self): return any([x.stop_all() for x in self.s])
import time
class TimeoutStopper(Stopper):
    def __init__(self,b): self.b=b; self.t=None
    def stop_all(self):
        if self.t is None: self.t=time.time()
        return time.time()-self.t>self.b
def resolve_stop(stop):
    if stop is None: return {}, None
    if isinstance(stop, dict): return stop, None
    if isinstance(stop, Stopper): return {}, stop
    class F(Stopper):
        def __call__(self,t,r): return stop(t,r)
    return {}, F()
def should_stop_by_criterion(c, flat):
    for k,v in c.items():
        if k not in flat: raise TuneError(k)
        if flat[k]>=v: return True
    return False
